//! A node's control API, as verbs use it: signs what goes over TCP, repeats what may be repeated, and reads answers.
use std::time::{Duration, Instant};

use bocage_node::{
    control::{
        api::{App, AppStatus, Applied, Deployed, Founding, Node, Plan, Problem},
        auth,
        doctor::Health,
        drain::{Drain, Leave, Left},
        export::Captured,
        recover::Recovered,
    },
    keyfile::KeyFile,
    settings::wall,
};
use bocage_protocol::{
    cell::{RecoveryPapers, TenantCommand},
    charter::Papers,
    codec,
    id::{CellId, ContentHash, TenantId},
    identity::{NodeCertificate, Signed},
    placement::Policy,
    record::KeyWord,
};
use bytes::Bytes;
use http::{Method, Response};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::{
    connection::{self, Asked, Broken},
    failure::{Exit, Failure},
    say::Say,
    target::Target,
};

/// An answer to a question or small command.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// An answer to a deploy: bytes travel first.
const DEPLOY_MAX: Duration = Duration::from_secs(75);
/// "Not now" is asked again for so long: an election is over well within it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// In whose name requests are signed.
#[derive(Clone, Debug)]
pub(crate) struct Signer(KeyFile);

impl From<KeyFile> for Signer {
    fn from(key: KeyFile) -> Self {
        Self(key)
    }
}

/// A node to ask.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) target: Target,
    pub(crate) signer: Option<Signer>,
    pub(crate) say: Say,
}

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or carries an op.
    Safely,
    Never,
}

impl Control {
    pub(crate) async fn status(&self) -> Result<Node, Failure> {
        self.get("/v1/status").await
    }

    pub(crate) async fn doctor(&self) -> Result<Health, Failure> {
        self.get("/v1/doctor").await
    }

    /// All of a tenant's apps, or one.
    pub(crate) async fn apps(&self, tenant: TenantId, app: Option<&str>) -> Result<Vec<App>, Failure> {
        let one = app.map(|app| format!("&app={}", encode(app))).unwrap_or_default();
        self.get(&format!("/v1/apps?tenant={tenant}{one}")).await
    }

    /// The cell of an app.
    pub(crate) async fn cell_of(&self, tenant: TenantId, app: &str) -> Result<CellId, Failure> {
        let found = self.apps(tenant, Some(app)).await?.into_iter().find(|found| found.app == app);
        let found = found.ok_or_else(|| {
            Failure::new(Exit::NotFound, "not-found", format!("you have no app {app:?} that this node knows of"))
                .next("list your apps: bocage apps; see who you are: bocage whoami")
        })?;
        found.cell.parse().map_err(|error| nonsense(&format!("{error}")))
    }

    pub(crate) async fn app_status(&self, cell: CellId) -> Result<AppStatus, Failure> {
        self.get(&format!("/v1/cells/{cell}")).await
    }

    pub(crate) async fn plan(&self, policy: &Policy) -> Result<Plan, Failure> {
        let body = codec::encode(policy).0;
        read(&self.ask(Method::POST, "/v1/plan", body, ANSWER_MAX, Repeat::Safely).await?)
    }

    /// Brings bytes to the node, from where hosts fetch them.
    pub(crate) async fn upload(&self, hash: ContentHash, bytes: Bytes) -> Result<(), Failure> {
        let path = format!("/v1/content/{hash}");
        self.ask(Method::PUT, &path, bytes, DEPLOY_MAX, Repeat::Safely).await.map(drop)
    }

    /// Founds a cell. Repeated by nobody: look for the app first.
    pub(crate) async fn found(&self, by: &KeyFile, release: Signed<TenantCommand>) -> Result<Deployed, Failure> {
        let tenant = by.signed_genesis().expect("a tenant's key file has a genesis");
        let successions = (!by.successions.is_empty()).then(|| by.successions.clone());
        let body = codec::encode(&Founding { tenant, release, successions }).0;
        read(&self.ask(Method::POST, "/v1/apps", body, DEPLOY_MAX, Repeat::Never).await?)
    }

    /// Brings a signed command to a cell. Its op makes a repetition harmless.
    pub(crate) async fn submit(&self, cell: CellId, command: &Signed<TenantCommand>) -> Result<Applied, Failure> {
        let path = format!("/v1/cells/{cell}/commands");
        let body = codec::encode(command).0;
        read(&self.ask(Method::POST, &path, body, DEPLOY_MAX, Repeat::Safely).await?)
    }

    /// Brings papers to the roll; they prove themselves, so a repetition is harmless.
    pub(crate) async fn papers(&self, papers: &Papers) -> Result<(), Failure> {
        let body = codec::encode(papers).0;
        self.ask(Method::POST, "/v1/papers", body, ANSWER_MAX, Repeat::Safely).await.map(drop)
    }

    /// Tells the node, and by it the mesh, a word about keys.
    pub(crate) async fn tell(&self, word: &KeyWord) -> Result<(), Failure> {
        let body = codec::encode(word).0;
        self.ask(Method::PUT, "/v1/keys", body, ANSWER_MAX, Repeat::Safely).await.map(drop)
    }

    /// Gives the node its next certificate.
    pub(crate) async fn certificate(&self, certificate: &Signed<NodeCertificate>) -> Result<(), Failure> {
        let body = codec::encode(certificate).0;
        self.ask(Method::PUT, "/v1/certificate", body, ANSWER_MAX, Repeat::Safely).await.map(drop)
    }

    /// Asks and reads JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.ask(Method::GET, path, Bytes::new(), ANSWER_MAX, Repeat::Safely).await?)
    }

    /// Has a cell make a capture of its app.
    pub(crate) async fn capture(&self, cell: CellId) -> Result<Captured, Failure> {
        let path = format!("/v1/cells/{cell}/capture");
        read(&self.ask(Method::POST, &path, Bytes::new(), ANSWER_MAX, Repeat::Never).await?)
    }

    /// Has a recovery carried out. Once it was, the same one is refused.
    pub(crate) async fn recover(&self, papers: &RecoveryPapers) -> Result<Recovered, Failure> {
        let body = codec::encode(papers).0;
        read(&self.ask(Method::POST, "/v1/recoveries", body, DEPLOY_MAX, Repeat::Never).await?)
    }

    /// Asks for bytes.
    pub(crate) async fn octets(&self, path: &str) -> Result<Bytes, Failure> {
        self.ask(Method::GET, path, Bytes::new(), DEPLOY_MAX, Repeat::Safely).await
    }

    /// How far a drain is.
    pub(crate) async fn drain(&self) -> Result<Drain, Failure> {
        self.get("/v1/drain").await
    }

    /// Ends a drained node. Its process may be gone before it has answered twice.
    pub(crate) async fn leave(&self, leave: &Leave) -> Result<Left, Failure> {
        let body = serde_json::to_vec(leave).expect("what we send is plain JSON").into();
        read(&self.ask(Method::PUT, "/v1/leave", body, DEPLOY_MAX, Repeat::Never).await?)
    }

    /// Sends JSON; the answer is empty.
    pub(crate) async fn put_json<T: serde::Serialize>(&self, path: &str, value: &T) -> Result<(), Failure> {
        let body = serde_json::to_vec(value).expect("what we send is plain JSON").into();
        self.ask(Method::PUT, path, body, ANSWER_MAX, Repeat::Safely).await.map(drop)
    }

    /// Asks; the answer comes line by line.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let asked = self.asked(Method::GET, path, Bytes::new());
        let answer = connection::open(&self.target, asked).await.map_err(|broken| self.broken(broken))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.map(http_body_util::Collected::to_bytes);
        Err(problem(&Response::from_parts(parts, body.unwrap_or_default())))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
        repeat: Repeat,
    ) -> Result<Bytes, Failure> {
        let began = Instant::now();
        // An attempt was cut off: whatever comes of the next ones, it may have been done.
        let mut open = false;
        loop {
            let asked = self.asked(method.clone(), path, body.clone());
            let failure = match connection::exchange(&self.target, asked, within).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer.into_body()),
                Ok(answer) => problem(&answer),
                Err(broken) => self.broken(broken),
            };
            open |= failure.exit == Exit::Indefinite && method != Method::GET;
            if repeat == Repeat::Never || !failure.is_passing() || began.elapsed() > PATIENCE {
                return Err(if open { failure.after_an_open_attempt() } else { failure });
            }
            self.say.detail(format!("{}; asking again", failure.what));
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn asked<'a>(&self, method: Method, path: &'a str, body: Bytes) -> Asked<'a> {
        self.say.detail(format!("{method} {path}"));
        let mut headers = Vec::new();
        if let (Target::Tcp(_), Some(Signer(key))) = (&self.target, &self.signer) {
            headers.push((auth::AUTHORIZATION, auth::sign(key, method.as_str(), path, &body, wall())));
        }
        headers.push((http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type(path))));
        Asked { method, path, host: None, headers, body }
    }

    fn broken(&self, broken: Broken) -> Failure {
        match broken {
            Broken::Connect(error) => {
                let what = format!("no node answers at {}: {error}", self.target);
                Failure::new(Exit::Failed, "no-node", what)
                    .next("name another one with --node, or start it: bocage node run --dir FOLDER")
            }
            Broken::Lost(_) | Broken::Late(_) => {
                let what = format!("asked {}, and {broken}", self.target);
                Failure::new(Exit::Indefinite, "lost", what).next("it may have happened: look with bocage status APP")
            }
        }
    }
}

/// What the API reads at a path.
fn content_type(path: &str) -> &'static str {
    match path {
        "/v1/offer" | "/v1/drain" | "/v1/leave" => "application/json",
        _ if path.starts_with("/v1/content/") => "application/octet-stream",
        _ => "application/cbor",
    }
}

fn problem(answer: &Response<Bytes>) -> Failure {
    if let Ok(problem) = serde_json::from_slice::<Problem>(answer.body()) {
        return Failure::of(problem);
    }
    let text = String::from_utf8_lossy(answer.body());
    let text: String = text.trim().chars().take(300).collect();
    Failure::new(Exit::Failed, "no-control", format!("the node answered {}: {text}", answer.status()))
        .next("is this the control address? demo and node status name it; the edge has another port")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| nonsense(&error.to_string()))
}

fn nonsense(why: &str) -> Failure {
    Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {why}"))
        .next("node and CLI are of different versions? bocage --version, and GET /version of the node")
}

/// Text as one value in a query or segment of a path.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every byte");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_value_in_a_query() {
        assert_eq!(encode("a b/ü&=#"), "a%20b%2F%C3%BC%26%3D%23");
    }

    #[tokio::test]
    async fn a_command_that_was_cut_off_once_is_not_said_to_have_failed_for_certain() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap().to_string());
        // The node takes the command, and is gone before it answers and after.
        let node = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
        });
        let say = Say { format: crate::say::Format::Json, quiet: true, verbose: 0 };
        let control = Control { target, signer: None, say };
        let failure = control.put_json("/v1/offer", &1).await.unwrap_err();
        node.await.unwrap();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Indefinite, "lost"), "{}", failure.what);
    }
}
