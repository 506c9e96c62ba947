//! What must be known to make a node: said by flags, asked of a person where flags leave it open, and checked against the
//! machine and the world before anything is written.
use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bocage_node::{
    keyfile::KeyFile,
    settings::{Folder as NodeFolder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, Settings, wall},
    transport::node_of_address,
};
use bocage_protocol::{
    id::{MeshId, NodeId},
    resources::{Jurisdiction, Site},
};
use clap::Args;
use dialoguer::Input;

use super::{
    init::{not_an_address, operator, refused},
    machine::Machine,
};
use crate::{
    failure::{Exit, Failure},
    quantity::{Bytes, Cores},
    verb::{
        keys::make::Recovery,
        offer::set::{Terms, euro},
    },
};

/// The port for other nodes, UDP and TCP.
const MESH_PORT: u16 = 4_001;

/// Flags of everything that makes a node: `node init`, `node join`, `mesh found`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Make {
    /// What the operator is called
    #[arg(long, value_name = "OPERATOR")]
    name: Option<String>,
    /// The operator's key file, if there is one already; else one is made in the node's folder
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: Option<PathBuf>,
    #[command(flatten)]
    recovery: Recovery,
    /// The law that the node answers to: an ISO 3166-1 code, such as FR
    #[arg(long, value_name = "CODE")]
    jurisdiction: Option<Jurisdiction>,
    /// The place that fails together: building, power feed, uplink
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// A finer thing that fails together, such as power:A; may be given again
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// A node to dial first: a multiaddress that ends in /p2p/PEER; may be given again
    #[arg(long, value_name = "ADDR")]
    pub(crate) bootstrap: Vec<String>,
    /// Suffix of apps' own host names [default: localhost]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Port for other nodes, UDP and TCP [default: 4001]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// An address that other nodes reach this one at, where it is not the sockets' own; may be given again
    #[arg(long, value_name = "ADDR")]
    announce: Vec<String>,
    /// Where HTTP for apps comes in [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    edge: Option<SocketAddr>,
    /// Where the control API is; requests over TCP are signed [default: 127.0.0.1:4080]
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
    /// Look for nodes on the local network
    #[arg(long)]
    mdns: bool,
    #[command(flatten)]
    terms: Terms,
    /// Ask nothing: what no flag says and has no default is an error
    #[arg(long)]
    no_input: bool,
}

/// A node that can be made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) operator: KeyFile,
    pub(crate) operator_key: PathBuf,
    /// Its recovery keys.
    pub(crate) apart: Vec<PathBuf>,
    pub(crate) node: NodeId,
    pub(crate) port: u16,
}

impl Make {
    /// Whether any flag was given: a folder that is made already takes none.
    pub(crate) fn says_something(&self) -> bool {
        let Self {
            name,
            operator_key: _,
            jurisdiction,
            site,
            domains,
            bootstrap,
            zone,
            port,
            announce,
            edge,
            control,
            ..
        } = self;
        let words = name.is_some() || jurisdiction.is_some() || site.is_some() || zone.is_some();
        let places = port.is_some() || edge.is_some() || control.is_some() || self.mdns;
        words
            || places
            || !domains.is_empty()
            || !bootstrap.is_empty()
            || !announce.is_empty()
            || !self.terms.is_empty()
    }

    /// Asks what is open, checks all of it, and makes keys and settings in `path`.
    pub(crate) fn make(&self, path: &Path, flag: &str, mesh: Option<MeshId>) -> Result<Made, Failure> {
        if let Some(wrong) = self.bootstrap.iter().find(|text| node_of_address(text).is_none()) {
            return Err(not_an_address(wrong));
        }
        let operator_key = self.operator_key.clone().unwrap_or_else(|| path.join("keys/operator.key"));
        let asks = Asks { may: !self.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() };
        let name = match &self.name {
            Some(name) => Some(name.clone()),
            None if operator_key.exists() => None,
            None => Some(asks.text("name", "What is the operator called?", None)?),
        };
        let jurisdiction = match self.jurisdiction {
            Some(code) => code,
            None => asks.parsed("jurisdiction", "Which law does the node answer to (ISO 3166-1, such as FR)?")?,
        };
        known_to_iso(jurisdiction)?;
        let site = match &self.site {
            Some(site) => site.clone(),
            None => asks.text("site", "At which site is it: the place that fails together?", None)?,
        };
        let machine = Machine::here(path);
        let offer = self.offer(&asks, &machine)?;
        machine.check(&offer)?;
        let port = self.port.unwrap_or(MESH_PORT);
        let settings = Settings {
            mesh: MeshSettings {
                id: mesh,
                zone: self.zone.clone().unwrap_or_else(|| "localhost".to_owned()),
                bootstrap: self.bootstrap.clone(),
                wire_newest: None,
            },
            node: NodeSettings { jurisdiction, site: Site(site), domains: self.domains.clone() },
            listen: ListenSettings {
                mesh: everywhere(port),
                announce: self.announce.clone(),
                edge: self.edge.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8_080))),
                control: self.control.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 4_080))),
                mdns: self.mdns,
            },
            offer: Some(offer),
            relay: None,
        };
        let (operator, apart) = operator(&operator_key, name.as_deref(), self.recovery)?;
        let node = NodeFolder::create(path, &settings, &operator, wall()).map_err(|error| refused(&error, flag))?;
        Ok(Made { operator, operator_key, apart, node, port })
    }

    /// What flags say; asked where they say nothing and somebody is there.
    fn offer(&self, asks: &Asks, machine: &Machine) -> Result<OfferSettings, Failure> {
        let usual = machine.at_most_half(modest());
        if !asks.may || !self.terms.is_empty() {
            return Ok(self.terms.over(&usual));
        }
        let cores = format!("{}.{:03}", usual.cpu_millis / 1_000, usual.cpu_millis % 1_000);
        let cpu: Cores = asks.with_default("How many cores does it offer?", &cores)?;
        let memory: Bytes = asks.with_default("How much memory?", &format!("{}MiB", usual.memory_mib))?;
        let disk: Bytes = asks.with_default("How much disk?", &format!("{}GiB", usual.disk_gib))?;
        let price = |what: &str, cents: u64| asks.with_default::<u64>(what, &cents.to_string());
        let terms = Terms {
            cpu: Some(cpu),
            memory: Some(memory),
            disk: Some(disk),
            currency: Some(asks.with_default("In which currency are its prices (ISO 4217)?", &euro().to_string())?),
            cpu_price: Some(price("For a core and month, in cents?", usual.cpu_core_month)?),
            memory_price: Some(price("For a GiB of memory and month, in cents?", usual.memory_gib_month)?),
            disk_price: Some(price("For a GiB of disk and month, in cents?", usual.disk_gib_month)?),
        };
        Ok(terms.over(&usual))
    }
}

/// What is offered where nobody says otherwise: a part of a small machine.
pub(crate) fn modest() -> OfferSettings {
    OfferSettings {
        cpu_millis: 1_000,
        memory_mib: 1_024,
        disk_gib: 10,
        currency: euro(),
        cpu_core_month: 400,
        memory_gib_month: 150,
        disk_gib_month: 5,
    }
}

/// Two capital letters are no country yet.
fn known_to_iso(code: Jurisdiction) -> Result<(), Failure> {
    if isocountry::CountryCode::for_alpha2(code.as_str()).is_ok() {
        return Ok(());
    }
    let next = match code.as_str() {
        "UK" => "the United Kingdom is GB".to_owned(),
        "EU" => "name the member state whose law it is, such as FR or DE".to_owned(),
        _ => "take the two letters of ISO 3166-1, such as FR, DE or CN".to_owned(),
    };
    Err(Failure::new(Exit::Usage, "jurisdiction", format!("there is no jurisdiction {code}")).next(next))
}

/// Asks a person, if one is there.
struct Asks {
    may: bool,
}

impl Asks {
    fn text(&self, flag: &str, question: &str, default: Option<String>) -> Result<String, Failure> {
        if !self.may {
            return Err(Failure::new(
                Exit::Usage,
                "missing",
                format!("--{flag} is missing, and nobody is there to ask"),
            )
            .next(format!("say it: --{flag} …; bocage node init --help lists all flags")));
        }
        let mut input = Input::new().with_prompt(question);
        if let Some(default) = default {
            input = input.default(default);
        }
        input.interact_text().map_err(|error| Failure::new(Exit::Interrupted, "interrupted", error.to_string()))
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, flag: &str, question: &str) -> Result<T, Failure> {
        loop {
            match self.text(flag, question, None)?.trim().parse() {
                Ok(value) => return Ok(value),
                Err(error) => crate::say::to_stderr(&format!("{error}\n")),
            }
        }
    }

    fn with_default<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        question: &str,
        default: &str,
    ) -> Result<T, Failure> {
        loop {
            match self.text("no-input", question, Some(default.to_owned()))?.trim().parse() {
                Ok(value) => return Ok(value),
                Err(error) => crate::say::to_stderr(&format!("{error}\n")),
            }
        }
    }
}

/// Every address of this machine, IPv6 first where there is any: no NAT is in between there.
fn everywhere(port: u16) -> Vec<String> {
    // The daemon listens for IPv6 alone on it, and asks for the port before it does for IPv4.
    let has_ip6 = std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ips = if has_ip6 { vec!["/ip6/::", "/ip4/0.0.0.0"] } else { vec!["/ip4/0.0.0.0"] };
    ips.into_iter().flat_map(|ip| [format!("{ip}/udp/{port}/quic-v1"), format!("{ip}/tcp/{port}")]).collect()
}
