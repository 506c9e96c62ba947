//! The manifest: what a person writes about an app (TOML), read once into a policy and the pieces of a release, valid
//! ever after. Every error names line and column, what was expected, and for a typo the nearest key.
//!
//! ```
//! # use bocage_protocol::manifest::Manifest;
//! let manifest = Manifest::parse(r#"
//!     app = "guestbook"
//!     [component]
//!     path = "guestbook.wasm"
//!     [place]
//!     home = ["FR", "DE"]
//!     max_price = "12 EUR/month"
//! "#).unwrap();
//! assert_eq!(manifest.policy.home.len(), 2);
//! ```
mod error;
mod quantity;
mod document;

use std::{collections::BTreeSet, ops::Range, time::Duration};

pub use error::ManifestError;

use document::Document;
use toml::Spanned;

use crate::{
    cell::{RECOVERERS_MAX, state::STORE_BYTES_MAX},
    converge::STORES_MAX,
    outbound::{DESTINATIONS_MAX, Destination, DestinationError},
    placement::{AwayInCut, CutContract, Policy, Recovery, Scale},
    refusal::{Code, Refusal},
    resources::Jurisdiction,
};

/// A manifest is no longer than this, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// Names and values of `[env]` together, in bytes.
pub const ENV_BYTES_MAX: usize = 64 << 10;

/// `[domains] names` has at most so many.
pub const DOMAINS_MAX: usize = 32;

/// `home` and `away` name at most so many jurisdictions each.
pub const JURISDICTIONS_MAX: usize = 64;

/// `scale.max` is at most this.
pub const INSTANCES_MAX: u32 = 1_000;

/// `scale.target_concurrency` is at most this.
const CONCURRENCY_MAX: u32 = 10_000;

/// No duration in a manifest is longer.
const DURATION_MAX: Duration = Duration::from_hours(366 * 24);

/// No app says that an instance is lost sooner: a lease lasts as long.
const LOST_AFTER_MIN: Duration = Duration::from_secs(10);

/// What an app says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The app's name: 1 to 63 characters of `a-z0-9-`, a DNS label.
    pub app: String,
    /// What runs.
    pub source: Source,
    /// Given to the instance, by name. At most [`ENV_BYTES_MAX`] in all.
    pub env: Vec<(String, String)>,
    /// What must stay true.
    pub policy: Policy,
    /// Hosts beside the self-certifying name, lower case. At most [`DOMAINS_MAX`].
    pub domains: Vec<String>,
    /// Stores that it names and says, or leaves it said, to be strong.
    pub strong: Vec<String>,
}

/// Where what runs is found, as written: relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `[component] path`: a WASM component.
    Component {
        /// Of the file.
        path: String,
    },
    /// `[container] image`. Not run by this version.
    Container {
        /// As a registry names it.
        image: String,
    },
    /// `[site] path`. Not run by this version.
    Site {
        /// Of the folder.
        path: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes, this one has {}", text.len());
            return Err(ManifestError::missing(message, "put data into the app, not into its manifest"));
        }
        let document: Document = toml::from_str(text).map_err(|error| ManifestError::from_toml(text, &error))?;
        Check { text }.manifest(&document)
    }

    /// The path of the component, for whoever deploys.
    ///
    /// # Errors
    /// `Unsupported` for what this version does not run.
    pub fn component(&self) -> Result<&str, Refusal> {
        let what = match &self.source {
            Source::Component { path } => return Ok(path),
            Source::Container { .. } => "containers",
            Source::Site { .. } => "static sites",
        };
        let detail = format!(
            "{} cannot be deployed: this version does not run {what} yet, only WASM components. Build one and name it under \
             [component] path",
            self.app
        );
        Err(Refusal::definite(Code::Unsupported, detail))
    }
}

/// Checks what no single value can show by itself.
struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn manifest(&self, document: &Document) -> Result<Manifest, ManifestError> {
        let app = self.app(document)?;
        let source = self.source(document)?;
        let policy = self.policy(document)?;
        let env = self.env(document)?;
        let domains = self.domains(document)?;
        let stores = document.state.iter().flatten().map(|(name, _)| name);
        let strong = stores.filter(|name| !policy.converges(name)).cloned().collect();
        Ok(Manifest { app, source, env, policy, domains, strong })
    }

    fn app(&self, document: &Document) -> Result<String, ManifestError> {
        let Some(app) = &document.app else {
            return Err(ManifestError::missing("the key \"app\" is missing", "begin with app = \"a-name\""));
        };
        let help = "1 to 63 of a-z, 0-9 and -, neither first nor last a -: it becomes a part of the host name";
        self.ensure(
            is_label(app.get_ref()),
            app.span(),
            || format!("{:?} cannot be an app's name", app.get_ref()),
            help,
        )?;
        Ok(app.get_ref().clone())
    }

    fn source(&self, document: &Document) -> Result<Source, ManifestError> {
        let component = document.component.as_ref().map(|section| {
            let path = &section.get_ref().path;
            (section.span(), path, Source::Component { path: path.get_ref().clone() })
        });
        let container = document.container.as_ref().map(|section| {
            let image = &section.get_ref().image;
            (section.span(), image, Source::Container { image: image.get_ref().clone() })
        });
        let site = document.site.as_ref().map(|section| {
            let path = &section.get_ref().path;
            (section.span(), path, Source::Site { path: path.get_ref().clone() })
        });
        let mut named = [component, container, site].into_iter().flatten();
        let Some((_, value, source)) = named.next() else {
            let help = "add [component] with path = \"app.wasm\"";
            return Err(ManifestError::missing("the manifest does not say what to run", help));
        };
        if let Some((span, ..)) = named.next() {
            let message = "an app is one of component, container and site, this names two";
            return Err(ManifestError::at(self.text, span, message, Some("make two apps of them".into())));
        }
        let written = !value.get_ref().trim().is_empty();
        self.ensure(written, value.span(), || "this is empty".into(), "name what to run")?;
        Ok(source)
    }

    fn policy(&self, document: &Document) -> Result<Policy, ManifestError> {
        let mut policy = Policy::default();
        if let Some(place) = &document.place {
            policy.home = self.jurisdictions(place.home.as_ref(), "home")?;
            policy.away = self.jurisdictions(place.away.as_ref(), "away")?;
            if let Some(law) =
                place.away.iter().flat_map(Spanned::get_ref).find(|law| policy.home.contains(&law.get_ref().0))
            {
                let message = format!("{} is both home and away", law.get_ref().0);
                return Err(self.wrong(law.span(), message, "name it in one of them"));
            }
            if let Some(voters) = &place.voters {
                policy.voters = voters.get_ref().0;
                let odd = matches!(policy.voters, 1 | 3 | 5);
                let message = || format!("{} voters: it must be 1, 3 or 5", policy.voters);
                self.ensure(odd, voters.span(), message, "3 survive the loss of one, 5 of two")?;
            }
            policy.max_price = place.max_price.map(|price| price.0.0);
            policy.allow_degraded = place.allow_degraded.unwrap_or(policy.allow_degraded);
        }
        policy.scale = self.scale(document, policy.scale)?;
        policy.outbound = self.outbound(document)?;
        policy.cut = self.cut(document, &policy)?;
        policy.recovery = self.recovery(document)?;
        policy.converging = self.converging(document)?;
        if let Some(written) = document.read.as_ref().and_then(|read| read.max_staleness.as_ref()) {
            policy.max_staleness = self.duration(written, Duration::from_millis(1))?;
        }
        if let Some(resources) = &document.resources {
            if let Some(memory) = &resources.memory {
                policy.instance.memory_bytes = memory.get_ref().0.0;
                let some = policy.instance.memory_bytes >= 1 << 20;
                self.ensure(some, memory.span(), || "an instance needs memory".into(), "at least \"1 MiB\"")?;
            }
            if let Some(cpu) = &resources.cpu {
                policy.instance.cpu_millis = cpu.get_ref().0.0;
                let some = policy.instance.cpu_millis > 0;
                self.ensure(some, cpu.span(), || "an instance needs a part of a core".into(), "at least \"0.001\"")?;
            }
        }
        Ok(policy)
    }

    fn jurisdictions(
        &self,
        list: Option<&Spanned<Vec<document::Law>>>,
        name: &str,
    ) -> Result<Vec<Jurisdiction>, ManifestError> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let few = list.get_ref().len() <= JURISDICTIONS_MAX;
        let message = || format!("{name} names {} jurisdictions", list.get_ref().len());
        self.ensure(few, list.span(), message, &format!("at most {JURISDICTIONS_MAX}; leave home out for any"))?;
        let mut seen = BTreeSet::new();
        for law in list.get_ref() {
            let message = || format!("{} is named twice", law.get_ref().0);
            self.ensure(seen.insert(law.get_ref().0), law.span(), message, "name it once")?;
        }
        Ok(list.get_ref().iter().map(|law| law.get_ref().0).collect())
    }

    fn scale(&self, document: &Document, mut scale: Scale) -> Result<Scale, ManifestError> {
        let Some(written) = &document.scale else { return Ok(scale) };
        if let Some(max) = &written.max {
            scale.max = max.get_ref().0;
            let some = (1..=INSTANCES_MAX).contains(&scale.max);
            let message = || format!("max is {}", scale.max);
            self.ensure(some, max.span(), message, &format!("from 1 to {INSTANCES_MAX} instances"))?;
        }
        if let Some(min) = &written.min {
            scale.min = min.get_ref().0;
            let message = || format!("min is {}, but max is {}", scale.min, scale.max);
            self.ensure(scale.min <= scale.max, min.span(), message, "raise max, or lower min")?;
        } else {
            scale.min = scale.min.min(scale.max);
        }
        if let Some(target) = &written.target_concurrency {
            scale.target_concurrency = target.get_ref().0;
            let some = (1..=CONCURRENCY_MAX).contains(&scale.target_concurrency);
            let message = || format!("target_concurrency is {}", scale.target_concurrency);
            self.ensure(some, target.span(), message, &format!("from 1 to {CONCURRENCY_MAX} requests in flight"))?;
        }
        Ok(scale)
    }

    fn cut(&self, document: &Document, policy: &Policy) -> Result<CutContract, ManifestError> {
        let mut cut = policy.cut.clone();
        let Some(written) = &document.cut else { return Ok(cut) };
        match written.away.as_ref().map(|away| (away.get_ref().as_str(), away.span())) {
            None => {}
            Some(("stale", _)) => cut.away = AwayInCut::Stale,
            Some(("stop", _)) => cut.away = AwayInCut::Stop,
            Some((other, span)) => {
                let help = "\"stale\": answer with what is known, and its Age; \"stop\": answer nothing";
                return Err(self.wrong(span, format!("away in a cut is {other:?}"), help));
            }
        }
        if let Some(duration) = &written.stale_for_max {
            cut.stale_for_max = self.duration(duration, Duration::ZERO)?;
        }
        if let Some(duration) = &written.lost_after {
            cut.lost_after = self.duration(duration, LOST_AFTER_MIN)?;
        }
        if let Some(duration) = &written.hold_for {
            cut.hold_for = self.duration(duration, Duration::ZERO)?;
        }
        let later = written.hold_for.as_ref().or(written.lost_after.as_ref());
        if let Some(later) = later {
            let message = || "hold_for is shorter than lost_after".into();
            let help = "a host keeps an instance at least until it counts as lost";
            self.ensure(cut.lost_after <= cut.hold_for, later.span(), message, help)?;
        }
        if let Some(side) = &written.home_cut {
            cut.home_cut = Some(side.get_ref().0);
            let message = || format!("home_cut is {}, which home does not name", side.get_ref().0);
            let help = "it says which home side keeps the quorum in a cut; leave it out for whichever has the majority";
            self.ensure(policy.home.contains(&side.get_ref().0), side.span(), message, help)?;
        }
        Ok(cut)
    }

    /// Who must agree, beside the tenant, that an app goes on after it has lost its majority.
    fn recovery(&self, document: &Document) -> Result<Recovery, ManifestError> {
        let Some(written) = &document.recovery else { return Ok(Recovery::default()) };
        let named = written.operators.get_ref();
        let few = (1..=RECOVERERS_MAX).contains(&named.len());
        let message = || format!("{} operators", named.len());
        let help = format!("from 1 to {RECOVERERS_MAX}; leave [recovery] out, and the tenant's key is enough");
        self.ensure(few, written.operators.span(), message, &help)?;
        let mut operators = Vec::new();
        for operator in named {
            let id = operator.get_ref().0;
            self.ensure(!operators.contains(&id), operator.span(), || format!("{id} is named twice"), "name it once")?;
            operators.push(id);
        }
        let all = u32::try_from(operators.len()).unwrap_or(u32::MAX);
        let Some(threshold) = &written.threshold else { return Ok(Recovery { operators, threshold: all / 2 + 1 }) };
        let count = threshold.get_ref().0;
        let message = || format!("threshold is {count}");
        let help = format!("so many of the operators must sign: from 1 to {all}");
        self.ensure((1..=all).contains(&count), threshold.span(), message, &help)?;
        Ok(Recovery { operators, threshold: count })
    }

    /// Which stores converge; all others are strong.
    fn converging(&self, document: &Document) -> Result<Vec<String>, ManifestError> {
        let mut converging = Vec::new();
        for (name, section) in document.state.iter().flatten() {
            let message = || format!("{name:?} cannot be a store's name");
            let help = format!("1 to {STORE_BYTES_MAX} bytes: what the component opens");
            self.ensure((1..=STORE_BYTES_MAX).contains(&name.len()), section.span(), message, &help)?;
            match section.get_ref().mode.as_ref().map(|mode| (mode.get_ref().as_str(), mode.span())) {
                None | Some(("strong", _)) => {}
                Some(("converge", _)) => converging.push(name.clone()),
                Some((other, span)) => {
                    let help = error::nearest(other, &["strong", "converge"]);
                    return Err(self.wrong(span, format!("the mode of a store is {other:?}"), &help));
                }
            }
            let message = || format!("{} stores converge", converging.len());
            self.ensure(converging.len() <= STORES_MAX, section.span(), message, &format!("at most {STORES_MAX}"))?;
        }
        Ok(converging)
    }

    fn duration(&self, written: &document::Period, min: Duration) -> Result<Duration, ManifestError> {
        let duration = written.get_ref().0;
        let message = || format!("{} s is out of bounds", duration.as_secs_f64());
        let help = format!("from {} s to 366d", min.as_secs_f64());
        self.ensure((min..=DURATION_MAX).contains(&duration), written.span(), message, &help)?;
        Ok(duration)
    }

    fn env(&self, document: &Document) -> Result<Vec<(String, String)>, ManifestError> {
        let Some(env) = &document.env else { return Ok(Vec::new()) };
        let mut bytes = 0;
        for (name, value) in env {
            bytes += name.len() + value.get_ref().len();
            let sound = !name.is_empty() && !name.contains(['=', '\0']) && !value.get_ref().contains('\0');
            let message = || format!("{name:?} cannot be an environment variable");
            self.ensure(sound, value.span(), message, "a name without =, and no zero bytes")?;
            let message = || "the environment is too large".into();
            let help = format!("names and values have at most {ENV_BYTES_MAX} bytes together");
            self.ensure(bytes <= ENV_BYTES_MAX, value.span(), message, &help)?;
        }
        Ok(env.iter().map(|(name, value)| (name.clone(), value.get_ref().clone())).collect())
    }

    fn outbound(&self, document: &Document) -> Result<Vec<String>, ManifestError> {
        let component = document.component.as_ref().map(Spanned::get_ref);
        let Some(hosts) = component.and_then(|component| component.allowed_outbound_hosts.as_ref()) else {
            return Ok(Vec::new());
        };
        let message = || format!("{} hosts", hosts.get_ref().len());
        let few = hosts.get_ref().len() <= DESTINATIONS_MAX;
        let help = format!("at most {DESTINATIONS_MAX}; \"https://*.example.net\" means all below example.net");
        self.ensure(few, hosts.span(), message, &help)?;
        let mut allowed = Vec::new();
        for written in hosts.get_ref() {
            let destination: Destination = written
                .get_ref()
                .parse()
                .map_err(|error: DestinationError| self.wrong(written.span(), error.what, error.help))?;
            let destination = destination.to_string();
            let message = || format!("{destination} is named twice");
            self.ensure(!allowed.contains(&destination), written.span(), message, "name it once")?;
            allowed.push(destination);
        }
        Ok(allowed)
    }

    fn domains(&self, document: &Document) -> Result<Vec<String>, ManifestError> {
        let names = document.domains.as_ref().and_then(|domains| domains.names.as_ref());
        let Some(names) = names else { return Ok(Vec::new()) };
        let message = || format!("{} domains", names.get_ref().len());
        let few = names.get_ref().len() <= DOMAINS_MAX;
        self.ensure(few, names.span(), message, &format!("at most {DOMAINS_MAX}"))?;
        let mut seen = BTreeSet::new();
        for name in names.get_ref() {
            let message = || format!("{:?} is not a host name", name.get_ref());
            let help = "lower case, with a dot, without scheme, port or path, such as \"www.example.org\"";
            self.ensure(is_host(name.get_ref()), name.span(), message, help)?;
            let message = || format!("{} is named twice", name.get_ref());
            self.ensure(seen.insert(name.get_ref()), name.span(), message, "name it once")?;
        }
        Ok(names.get_ref().iter().map(|name| name.get_ref().clone()).collect())
    }

    fn ensure(
        &self,
        holds: bool,
        span: Range<usize>,
        message: impl FnOnce() -> String,
        help: &str,
    ) -> Result<(), ManifestError> {
        if holds { Ok(()) } else { Err(self.wrong(span, message(), help)) }
    }

    fn wrong(&self, span: Range<usize>, message: impl Into<String>, help: &str) -> ManifestError {
        ManifestError::at(self.text, span, message, Some(help.to_owned()))
    }
}

/// A DNS label in lower case.
fn is_label(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(lawful) && !text.starts_with('-') && !text.ends_with('-')
}

/// A host name in lower case, of at least two labels.
fn is_host(text: &str) -> bool {
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
