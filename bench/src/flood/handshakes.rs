//! First packets of QUIC handshakes, as an honest client would send them, and nothing after.
use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::Context as _;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig, crypto::rustls::QuicClientConfig};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

/// Never asked: no handshake goes so far.
#[derive(Debug)]
struct Anybody;

/// So many different ones.
pub(super) fn first_packets(to: SocketAddr, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    // One key exchange that fits into a single packet.
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"libp2p".to_vec()];
    let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut packets = Vec::new();
    while packets.len() < count {
        // A fresh endpoint now and then: it remembers what it began.
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        for _ in 0..500.min(count - packets.len()) {
            let now = Instant::now();
            let (_, mut connection) = endpoint.connect(now, client.clone(), to, "l")?;
            let mut bytes = Vec::new();
            let _ = connection.poll_transmit(now, 1, &mut bytes).context("a client speaks first")?;
            packets.push(bytes);
        }
    }
    Ok(packets)
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
