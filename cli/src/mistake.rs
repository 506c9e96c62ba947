//! A mistake in a person's own TOML file, drawn with the line that it stands in.
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, MietteHandlerOpts, NamedSource, SourceCode};

/// What is wrong, where, and what to do.
#[derive(Debug)]
pub(crate) struct Mistake {
    code: &'static str,
    what: String,
    help: Option<String>,
    span: Option<Range<usize>>,
    source: NamedSource<String>,
}

impl Mistake {
    /// In this text. `code`: the failure's; `name`: what the person calls the file; `what`: as `line 3, column 1: …`.
    pub(crate) fn new(
        code: &'static str,
        name: &str,
        text: &str,
        what: String,
        span: Option<Range<usize>>,
        help: Option<String>,
    ) -> Self {
        let source = NamedSource::new(name, text.to_owned()).with_language("TOML");
        Self { code, what, help, span, source }
    }

    pub(crate) fn drawn(self) -> miette::Report {
        // Only the first call counts; all calls say the same.
        let _ = miette::set_hook(Box::new(|_| {
            let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
            Box::new(MietteHandlerOpts::new().color(color).unicode(true).width(100).build())
        }));
        miette::Report::new(self)
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::underline(span))))
    }
}
