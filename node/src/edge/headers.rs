//! Headers that an edge reads, sets and takes away.
use std::{net::IpAddr, time::Duration};

use bocage_protocol::id::{CellId, InstanceId, NodeId, TraceId};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::runtime::Rested;

/// A client names a request that it may repeat.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// W3C trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Which node's instance answered: for people.
pub(super) const NODE: HeaderName = HeaderName::from_static("x-bocage-node");
/// From edge to edge: which instance is meant.
const INSTANCE: HeaderName = HeaderName::from_static("x-bocage-instance");
/// From edge to edge: milliseconds until nobody waits any more.
const LEFT: HeaderName = HeaderName::from_static("x-bocage-left-ms");
/// From edge to edge: the instance did not answer; whether the guest saw anything.
pub(super) const REFUSED: HeaderName = HeaderName::from_static("x-bocage-refused");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers of one connection, not of the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The host of a request: lower case, without port; from the URI in HTTP/2, from the header in HTTP/1.1.
pub(super) fn host(uri: &http::Uri, headers: &HeaderMap) -> Option<String> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.host().or_else(|| named.map(without_port))?;
    (!host.is_empty() && host.len() <= 253).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        Some(_) | None => authority,
    }
}

/// The client's trace, or a new one; the header is set for whoever comes next.
pub(super) fn trace(headers: &mut HeaderMap) -> TraceId {
    let given = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(parse_traceparent);
    if let Some(trace) = given {
        return trace;
    }
    let mut bytes = [0; 24];
    if getrandom::fill(&mut bytes).is_err() {
        return TraceId::default();
    }
    let (trace, span) = bytes.split_at(16);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    if let Ok(value) = HeaderValue::from_str(&format!("00-{}-{}-00", hex(trace), hex(span))) {
        headers.insert(TRACEPARENT, value);
    }
    TraceId(trace.try_into().unwrap_or_default())
}

fn parse_traceparent(text: &str) -> Option<TraceId> {
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 {
        return None;
    }
    let bytes: [u8; 16] = data_encoding::HEXLOWER.decode(trace.as_bytes()).ok()?.try_into().ok()?;
    (bytes != [0; 16]).then_some(TraceId(bytes))
}

/// What a request from outside may not carry, and what it shall.
pub(super) fn admit(headers: &mut HeaderMap, client: IpAddr, host: &str) {
    for name in HOP_BY_HOP.iter().chain([&INSTANCE, &LEFT, &REFUSED, &NODE]) {
        headers.remove(name);
    }
    // A client can write what it likes there: the only hop that we know is the one that we see.
    let set = |headers: &mut HeaderMap, name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(headers, FORWARDED_FOR, &client.to_string());
    set(headers, FORWARDED_HOST, host);
    set(headers, FORWARDED_PROTO, "http");
}

/// Addresses a request to an instance on a peer.
pub(super) fn address(headers: &mut HeaderMap, instance: InstanceId, left: Duration) {
    let named = format!("{}/{}", instance.cell, instance.number);
    if let Ok(value) = HeaderValue::from_str(&named) {
        headers.insert(INSTANCE, value);
    }
    headers.insert(LEFT, HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
}

/// Whom a peer's edge means, and how long it waits; takes both headers away.
pub(super) fn addressed(headers: &mut HeaderMap) -> Option<(InstanceId, Duration)> {
    let named = headers.remove(INSTANCE)?;
    let (cell, number) = named.to_str().ok()?.split_once('/')?;
    let instance = InstanceId { cell: cell.parse::<CellId>().ok()?, number: number.parse().ok()? };
    let left = headers.remove(LEFT)?.to_str().ok()?.parse().ok()?;
    Some((instance, Duration::from_millis(left)))
}

/// What an answer shall carry: who gave it and, where its guest has read what may not be current, how old that may be, in whole
/// seconds and rounded up (RFC 9111, 5.1).
pub(super) fn answered_by<B>(response: &mut http::Response<B>, node: NodeId) {
    let rested = response.extensions().get::<Rested>().copied();
    let headers = response.headers_mut();
    if let Some(Rested(age)) = rested {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs() + u64::from(age.subsec_nanos() > 0)));
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if let Ok(value) = HeaderValue::from_str(&node.short()) {
        headers.insert(NODE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(header: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(header).unwrap());
        host(&"/path".parse().unwrap(), &headers)
    }

    #[test]
    fn a_host_is_compared_without_case_port_and_final_dot() {
        assert_eq!(host_of("Guestbook.Example.ORG:8080").as_deref(), Some("guestbook.example.org"));
        assert_eq!(host_of("example.org.").as_deref(), Some("example.org"));
        assert_eq!(host_of(""), None);
    }

    #[test]
    fn a_client_cannot_forge_what_edges_say_to_each_other() {
        let mut headers = HeaderMap::new();
        address(&mut headers, InstanceId { cell: CellId::of(b"c"), number: 3 }, Duration::from_secs(1));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        admit(&mut headers, IpAddr::from([127, 0, 0, 1]), "a.example");
        assert!(addressed(&mut headers).is_none());
        assert_eq!(headers[FORWARDED_FOR], "127.0.0.1");
    }

    #[test]
    fn an_instance_is_addressed_and_read_back() {
        let instance = InstanceId { cell: CellId::of(b"c"), number: 3 };
        let mut headers = HeaderMap::new();
        address(&mut headers, instance, Duration::from_millis(1_500));
        assert_eq!(addressed(&mut headers), Some((instance, Duration::from_millis(1_500))));
        assert!(headers.is_empty());
    }

    #[test]
    fn an_answer_that_rests_on_old_state_says_how_old_rounded_up_and_no_other_does() {
        let aged = |rested: Option<u64>| {
            let mut response = http::Response::new(());
            if let Some(ms) = rested {
                response.extensions_mut().insert(Rested(Duration::from_millis(ms)));
            }
            answered_by(&mut response, NodeId::default());
            response.headers().get(header::AGE).map(|age| age.to_str().unwrap().to_owned())
        };
        assert_eq!(aged(Some(61_001)).as_deref(), Some("62"));
        assert_eq!(aged(Some(2_000)).as_deref(), Some("2"));
        assert_eq!(aged(Some(0)).as_deref(), Some("0"));
        assert_eq!(aged(None), None);
    }

    #[test]
    fn a_trace_is_continued_or_begun() {
        let mut headers = HeaderMap::new();
        let begun = trace(&mut headers);
        assert_eq!(trace(&mut headers), begun, "the header names it from now on");
        headers.insert(TRACEPARENT, HeaderValue::from_static("garbage"));
        assert_ne!(trace(&mut headers), begun);
    }
}
