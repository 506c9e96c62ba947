//! A recorded tape, played to its end or to the first step in which a fresh node does something else.
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use bocage_protocol::{
    identity::Signatures,
    io::Output,
    node::Node,
    store::Boot,
    tape::{DIGEST_BYTES, Digest, End, Opening, Program, Record, digest, kind},
    time::Now,
};
use serde::Serialize;

use super::{
    Step,
    player::{Panic, Player, first_difference},
    program,
    reel::{Reel, TapeFault},
};

/// So many steps are shown.
pub const STEPS_SHOWN_MAX: usize = 1_000;

/// What is shown of an input or output is cut there.
const SHOWN_CHARS: usize = 240;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// Whose tape it is.
    pub node: String,
    /// Of which mesh.
    pub mesh: String,
    /// Version and commit of the program that recorded it.
    pub program: ProgramShown,
    /// It is this one, as far as its commit says.
    pub same_program: bool,
    /// When the node opened: milliseconds since the Unix epoch, by its own clock.
    pub opened_ms: u64,
    /// From there to the last step that was played.
    pub seconds: f64,
    /// So many steps were played, the opening aside.
    pub steps: u64,
    /// So many outputs they had, the opening's among them.
    pub outputs: u64,
    /// How many steps of which kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Why the tape ends there, in words.
    pub ended: String,
    /// Bytes at its end that are no whole record: the process was killed while it wrote.
    pub torn_bytes: u64,
    /// The first step that was not the same.
    pub differs: Option<Difference>,
    /// Steps as asked for with `--from`, at most [`STEPS_SHOWN_MAX`].
    pub shown: Vec<StepShown>,
}

/// Which program recorded a tape.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramShown {
    /// Of the package.
    pub version: String,
    /// That it was built from.
    pub commit: String,
}

/// A step in which a fresh node does something else.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// From 1 up; 0 is the opening.
    pub step: u64,
    /// On the node's own clock, since its driver started.
    pub at_s: f64,
    /// What the node was told.
    pub kind: &'static str,
    /// Which output differs, from 1 up, if one does.
    pub output: Option<usize>,
    /// In words.
    pub what: String,
}

/// A step as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct StepShown {
    /// From 1 up.
    pub step: u64,
    /// On the node's own clock.
    pub at_s: f64,
    /// What kind.
    pub kind: &'static str,
    /// The input, shortened.
    pub input: String,
    /// The outputs, shortened.
    pub outputs: Vec<String>,
}

/// A tape that could not be played, or no further. Until there everything was the same.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Unplayed {
    /// Why.
    pub fault: TapeFault,
    /// Up to this step it could be played; nothing: not even its node could be opened.
    pub whole: Option<u64>,
}

/// Of a tape that ends so.
const BROKE: &str = "the machine of the node broke, and does so again";

/// How a step went when it was recorded.
enum Once {
    Done(Vec<Digest>),
    /// The node panicked in it.
    Broke,
}

/// Plays the tape in a folder up to a step, or to its end; shows steps from another on.
///
/// # Errors
/// When it is none, or is damaged before that step.
pub fn play(folder: &Path, until: Option<u64>, from: Option<u64>) -> Result<Played, Unplayed> {
    let mut whole = None;
    play_into(folder, until, from, &mut whole).map_err(|fault| Unplayed { fault, whole })
}

fn play_into(
    folder: &Path,
    until: Option<u64>,
    from: Option<u64>,
    whole: &mut Option<u64>,
) -> Result<Played, TapeFault> {
    let mut reel = Reel::open(folder)?;
    let short = |why: String| TapeFault::Short { path: folder.to_owned(), why };
    let opening = match reel.next()? {
        Some(Record::Opening(opening)) => opening,
        Some(_) => return Err(reel.out_of_place("it does not begin with what the node opened with")),
        None => return Err(short("it was cut".to_owned())),
    };
    let boot = match boot(&mut reel, &opening)? {
        Ok(boot) => boot,
        Err(why) => return Err(short(why)),
    };
    let settings = opening.config().map_err(|error| reel.out_of_place(format!("it cannot be opened: {error}")))?;
    let (config, signatures) = settings;
    let mut played = Played::of(&opening);
    let once = match how_it_went(&mut reel, &signatures)? {
        Ok(once) => once,
        Err(why) => return Err(short(why)),
    };
    let opened = Player::<Node>::open(config, opening.seed, boot, opening.opened);
    let (player, made) = match opened {
        Ok((player, made)) => (Some(player), Ok(made)),
        Err(panic) => (None, Err(panic)),
    };
    played.differs = difference(&made, &once, &signatures, (0, opening.opened, "opening"));
    played.outputs = made.as_ref().map_or(0, |made| made.len() as u64);
    *whole = Some(0);
    if matches!(once, Once::Broke) {
        BROKE.clone_into(&mut played.ended);
    }
    // A node that broke as it opened takes no steps.
    let Some(mut player) = player.filter(|_| played.differs.is_none()) else { return Ok(played) };

    while until.is_none_or(|until| played.steps < until) {
        let (now, input) = match reel.next()? {
            Some(Record::Step { now, input }) => (now, input),
            Some(Record::End(why)) => {
                ends(&mut reel)?;
                played.ended = why.to_string();
                return Ok(played);
            }
            Some(_) => return Err(reel.out_of_place("it is no step, and one should begin here")),
            None => {
                played.cut(&reel, false);
                return Ok(played);
            }
        };
        let once = match how_it_went(&mut reel, &signatures)? {
            Ok(once) => once,
            Err(why) => {
                played.cut(&reel, true);
                if !why.is_empty() {
                    played.ended = why;
                }
                return Ok(played);
            }
        };
        let number = played.steps + 1;
        let kind = kind(input.as_ref());
        let is_shown = from.is_some_and(|from| from <= number) && played.shown.len() < STEPS_SHOWN_MAX;
        let input_shown = is_shown.then(|| input.as_ref().map(shown).unwrap_or_default());
        let made = player.step(now, input.map_or(Step::Timeout, Step::Input));
        if let Some(input) = input_shown {
            let outputs = made.iter().flatten().map(shown).collect();
            played.shown.push(StepShown { step: number, at_s: seconds(now), kind, input, outputs });
        }
        played.steps = number;
        played.seconds = now.instant.since(opening.opened.instant).as_secs_f64();
        played.outputs += made.as_ref().map_or(0, |made| made.len() as u64);
        *played.kinds.entry(kind).or_default() += 1;
        played.differs = difference(&made, &once, &signatures, (number, now, kind));
        if played.differs.is_some() {
            return Ok(played);
        }
        *whole = Some(number);
        if matches!(once, Once::Broke) {
            BROKE.clone_into(&mut played.ended);
            return Ok(played);
        }
    }
    played.ended = format!("it was played up to step {} only", played.steps);
    Ok(played)
}

/// What was on the node's disk; or, in words, why the tape ends before that.
fn boot(reel: &mut Reel, opening: &Opening) -> Result<Result<Boot, String>, TapeFault> {
    let mut boot = opening.boot();
    let mut last = None;
    for _ in 0..opening.keyed {
        match reel.next()? {
            Some(Record::Keyed { key, value }) => drop(boot.keyed.insert(key, value)),
            other => {
                last = Some(other);
                break;
            }
        }
    }
    for _ in 0..opening.cells {
        if last.is_some() {
            break;
        }
        match reel.next()? {
            Some(Record::Cell { cell, boot: kept }) => drop(boot.cells.insert(cell, kept)),
            other => last = Some(other),
        }
    }
    match last {
        None => Ok(Ok(boot)),
        Some(None) => Ok(Err("it was cut".to_owned())),
        Some(Some(Record::End(why))) => Ok(Err(why.to_string())),
        Some(Some(_)) => Err(reel.out_of_place("it is not what was on the node's disk, and that is not all here yet")),
    }
}

/// How the step that has begun went; or, in words if there are any, why that is not on the tape.
fn how_it_went(reel: &mut Reel, signatures: &Signatures) -> Result<Result<Once, String>, TapeFault> {
    match reel.next()? {
        Some(Record::Done { signatures: made, outputs }) => {
            signatures.put(made);
            let (digests, []) = outputs.as_chunks::<DIGEST_BYTES>() else {
                return Err(reel.out_of_place("the hash of an output is cut"));
            };
            Ok(Ok(Once::Done(digests.to_vec())))
        }
        Some(Record::End(why)) => {
            ends(reel)?;
            Ok(if why == End::Broke { Ok(Once::Broke) } else { Err(why.to_string()) })
        }
        Some(_) => Err(reel.out_of_place("it is not the outputs of the step before it")),
        None => Ok(Err(String::new())),
    }
}

/// Nothing comes after an end.
fn ends(reel: &mut Reel) -> Result<(), TapeFault> {
    let more = reel.next()?.is_some() || reel.torn() > 0;
    if more { Err(reel.out_of_place("something follows the end of the tape")) } else { Ok(()) }
}

fn difference(
    made: &Result<Vec<Output>, Panic>,
    once: &Once,
    signatures: &Signatures,
    (step, now, kind): (u64, Now, &'static str),
) -> Option<Difference> {
    let differs = |output, what| Some(Difference { step, at_s: seconds(now), kind, output, what });
    let unsigned = signatures.take().len();
    match (made, once) {
        (Err(_), Once::Broke) => None,
        (Err(panic), Once::Done(_)) => {
            differs(None, format!("the node panics now, and did not then: {}", panic.said()))
        }
        (Ok(_), Once::Broke) => differs(None, "the node broke then, and does not now".to_owned()),
        (Ok(made), Once::Done(once)) => {
            let again: Vec<Digest> = made.iter().map(digest).collect();
            match first_difference(&again, once) {
                Some(at) => {
                    let (then, now) = (once.len(), made.len());
                    let what = made.get(at).map_or_else(|| "there is none".to_owned(), shown);
                    differs(Some(at + 1), format!("{then} outputs then, {now} now; it is now: {what}"))
                }
                None if unsigned > 0 => differs(None, format!("the node signed {unsigned} statements more then")),
                None => None,
            }
        }
    }
}

fn seconds(now: Now) -> f64 {
    now.instant.as_duration().as_secs_f64()
}

fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Played {
    fn of(opening: &Opening) -> Self {
        let this = program();
        let Program { version, commit } = opening.program.clone();
        Self {
            node: opening.certificate.open().map_or_else(|_| String::new(), |it| it.node.to_string()),
            mesh: opening.mesh.to_string(),
            same_program: commit == this.commit && commit != "unknown",
            program: ProgramShown { version, commit },
            opened_ms: opening.opened.wall.0,
            seconds: 0.0,
            steps: 0,
            outputs: 0,
            kinds: BTreeMap::new(),
            ended: String::new(),
            torn_bytes: 0,
            differs: None,
            shown: Vec::new(),
        }
    }

    /// The tape has no end of its own.
    fn cut(&mut self, reel: &Reel, within: bool) {
        self.torn_bytes = reel.torn();
        let within = if within { ", within a step, which was not played" } else { "" };
        self.ended = format!("the process was killed, or the tape cut{within}");
    }

    /// Everything was the same.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.differs.is_none()
    }

    /// For people.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |shown: std::fmt::Arguments| writeln!(text, "{shown}").expect("a String takes every line");
        for StepShown { step, at_s, kind, input, outputs } in &self.shown {
            line(format_args!("step {step}, {at_s:.6} s, {kind}: {input}"));
            for output in outputs {
                line(format_args!("    {output}"));
            }
        }
        let Self { steps, outputs, seconds, ended, .. } = self;
        match &self.differs {
            None => line(format_args!("{steps} steps, {outputs} outputs: the same")),
            Some(Difference { step: 0, what, output, .. }) => {
                let output = output.map(|output| format!(" in output {output}")).unwrap_or_default();
                line(format_args!("DIFFERS as the node opens{output}: {what}"));
            }
            Some(Difference { step, at_s, kind, output, what }) => {
                let output = output.map(|output| format!(" in output {output}")).unwrap_or_default();
                line(format_args!("DIFFERS in step {step} ({kind}, {at_s:.6} s by its node's clock){output}: {what}"));
            }
        }
        line(format_args!("node {}, {seconds:.3} s", self.node));
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !kinds.is_empty() {
            line(format_args!("{}", kinds.join(", ")));
        }
        if self.differs.is_none() {
            line(format_args!("the tape ends there: {ended}"));
        }
        text
    }
}
