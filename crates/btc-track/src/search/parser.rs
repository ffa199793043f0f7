//! The grammar of filters and orders.

use super::lexer::{Spanned, Token, error, tokens};
use super::{Clause, Comparator, Filter, Key, Literal, OrderBy, Subject};
use crate::error::Result;

/// Bounds the work of one search; nobody writes more by hand.
const MAX_CLAUSES: usize = 100;
const MAX_LENGTH: usize = 64 * 1024;
/// The longest pattern, in bytes; SQLite's own limit is higher, escapes included.
const MAX_PATTERN: usize = 10_000;

pub(super) fn filter(subject: Subject, text: &str) -> Result<Filter> {
    let mut parser = Parser::new(subject, text)?;
    let mut clauses = Vec::new();
    if parser.is_done() {
        return Ok(Filter::default());
    }
    loop {
        clauses.push(parser.clause()?);
        if clauses.len() > MAX_CLAUSES {
            return Err(error(
                format!("a filter has at most {MAX_CLAUSES} comparisons"),
                parser.position(),
            ));
        }
        if parser.is_done() {
            return Ok(Filter { clauses });
        }
        parser.and()?;
    }
}

pub(super) fn order_by(subject: Subject, text: &str) -> Result<OrderBy> {
    let mut parser = Parser::new(subject, text)?;
    let key = parser.key()?;
    let descending = match parser.peek() {
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("asc") => false,
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("desc") => true,
        None => {
            return Ok(OrderBy {
                key,
                descending: false,
            });
        }
        Some(_) => return Err(error("expected ASC or DESC", parser.position())),
    };
    parser.next += 1;
    if !parser.is_done() {
        return Err(error("expected the end of the ordering", parser.position()));
    }
    if matches!(key, Key::Dataset(_)) {
        return Err(error("cannot order by a data set", 0));
    }
    Ok(OrderBy { key, descending })
}

/// What a key is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Text,
    /// A text that also takes `IN`.
    Id,
    /// A text that may be missing and takes `IS NULL`.
    Optional,
}

struct Parser<'a> {
    subject: Subject,
    tokens: Vec<Spanned<'a>>,
    next: usize,
    length: usize,
}

impl<'a> Parser<'a> {
    fn new(subject: Subject, text: &'a str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            return Err(error(
                format!("the text is longer than {MAX_LENGTH} bytes"),
                MAX_LENGTH,
            ));
        }
        Ok(Self {
            subject,
            tokens: tokens(text)?,
            next: 0,
            length: text.len(),
        })
    }

    fn is_done(&self) -> bool {
        self.next >= self.tokens.len()
    }

    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.next).map(|spanned| &spanned.token)
    }

    fn position(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.length, |spanned| spanned.start)
    }

    fn take(&mut self, expected: &str) -> Result<Spanned<'a>> {
        let spanned = self.tokens.get(self.next).cloned();
        self.next += 1;
        spanned.ok_or_else(|| error(format!("expected {expected}"), self.length))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn and(&mut self) -> Result<()> {
        let position = self.position();
        match self.take("AND")?.token {
            Token::Word(word) if word.eq_ignore_ascii_case("and") => Ok(()),
            Token::Word(word) if word.eq_ignore_ascii_case("or") => {
                Err(error("OR is not supported, only AND", position))
            }
            _ => Err(error("expected AND", position)),
        }
    }

    fn clause(&mut self) -> Result<Clause> {
        match self.peek() {
            Some(Token::Open) => {
                return Err(error("parentheses are not supported", self.position()));
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("not") => {
                return Err(error(
                    "NOT is not supported before a comparison",
                    self.position(),
                ));
            }
            _ => {}
        }
        let key = self.key()?;
        let kind = kind(self.subject, &key);
        let position = self.position();
        let comparator = self.comparator()?;
        let allowed = match (kind, comparator) {
            (_, Comparator::Eq | Comparator::Ne) => true,
            (Kind::Number, Comparator::Lt | Comparator::Le | Comparator::Gt | Comparator::Ge) => {
                true
            }
            (Kind::Number, _) => false,
            (_, Comparator::Like | Comparator::ILike) => true,
            (Kind::Id, Comparator::In | Comparator::NotIn) => true,
            (Kind::Optional, Comparator::IsNull | Comparator::IsNotNull) => true,
            _ => false,
        };
        if !allowed {
            let operators = match kind {
                Kind::Number => "= != < <= > >=",
                Kind::Text => "= != LIKE ILIKE",
                Kind::Id => "= != LIKE ILIKE IN",
                Kind::Optional => "= != LIKE ILIKE IS NULL",
            };
            return Err(error(
                format!("this key is compared with one of {operators}"),
                position,
            ));
        }
        let literal = self.literal(kind, comparator)?;
        Ok(Clause {
            key,
            comparator,
            literal,
        })
    }

    fn comparator(&mut self) -> Result<Comparator> {
        let position = self.position();
        let word = match self.take("a comparison such as =")?.token {
            Token::Operator(operator) => {
                return Ok(match operator {
                    "=" => Comparator::Eq,
                    "!=" => Comparator::Ne,
                    "<" => Comparator::Lt,
                    "<=" => Comparator::Le,
                    ">" => Comparator::Gt,
                    _ => Comparator::Ge,
                });
            }
            Token::Word(word) => word.to_ascii_uppercase(),
            _ => return Err(error("expected a comparison such as =", position)),
        };
        match word.as_str() {
            "LIKE" => Ok(Comparator::Like),
            "ILIKE" => Ok(Comparator::ILike),
            "IN" => Ok(Comparator::In),
            "NOT" if self.take_word("in") => Ok(Comparator::NotIn),
            "IS" => {
                let not = self.take_word("not");
                if self.take_word("null") {
                    Ok(if not {
                        Comparator::IsNotNull
                    } else {
                        Comparator::IsNull
                    })
                } else {
                    Err(error("expected NULL after IS", self.position()))
                }
            }
            "BETWEEN" => Err(error(
                "BETWEEN is not supported, write two comparisons",
                position,
            )),
            _ => Err(error("expected a comparison such as =", position)),
        }
    }

    fn literal(&mut self, kind: Kind, comparator: Comparator) -> Result<Literal> {
        let position = self.position();
        match comparator {
            Comparator::IsNull | Comparator::IsNotNull => Ok(Literal::Nothing),
            Comparator::In | Comparator::NotIn => self.list(),
            _ if kind == Kind::Number => match self.take("a number")?.token {
                Token::Number(value) => Ok(Literal::Number(value)),
                _ => Err(error("expected a number without quotes", position)),
            },
            _ => match self.take("a text in quotes")?.token {
                Token::Single(text) | Token::Double(text)
                    if matches!(comparator, Comparator::Like | Comparator::ILike)
                        && text.len() > MAX_PATTERN =>
                {
                    Err(error(
                        format!("a pattern has at most {MAX_PATTERN} bytes"),
                        position,
                    ))
                }
                Token::Single(text) | Token::Double(text) => Ok(Literal::Text(text.to_owned())),
                _ => Err(error("expected a text in quotes", position)),
            },
        }
    }

    fn list(&mut self) -> Result<Literal> {
        let position = self.position();
        if self.take("a list in parentheses")?.token != Token::Open {
            return Err(error("expected a list in parentheses", position));
        }
        let mut items = Vec::new();
        loop {
            let position = self.position();
            match self.take("a text in quotes")?.token {
                Token::Single(text) | Token::Double(text) => items.push(text.to_owned()),
                _ => return Err(error("expected a text in quotes", position)),
            }
            let position = self.position();
            match self.take("',' or ')'")?.token {
                Token::Comma => {}
                Token::Close => return Ok(Literal::List(items)),
                _ => return Err(error("expected ',' or ')'", position)),
            }
        }
    }

    fn key(&mut self) -> Result<Key> {
        let first = self.take("a key such as metrics.mape")?;
        let word = match first.token {
            Token::Word(word) => word,
            Token::Backtick(name) | Token::Double(name) => {
                return self.attribute(name, first.start);
            }
            _ => return Err(error("expected a key such as metrics.mape", first.start)),
        };
        let Some((prefix, name)) = word.split_once('.') else {
            // "run name" is an old spelling of run_name, with or without quotes.
            if word.eq_ignore_ascii_case("run") && self.take_word("name") {
                return self.attribute("run name", first.start);
            }
            return self.attribute(word, first.start);
        };
        let name = if name.is_empty() {
            match self.tokens.get(self.next) {
                Some(Spanned {
                    token: Token::Backtick(name) | Token::Double(name),
                    start,
                    ..
                }) if *start == first.end => {
                    self.next += 1;
                    *name
                }
                _ => return Err(error(format!("expected a name after {prefix}."), first.end)),
            }
        } else {
            name
        };
        if name.is_empty() {
            return Err(error(format!("expected a name after {prefix}."), first.end));
        }
        let has_values = matches!(self.subject, Subject::Run | Subject::LoggedModel);
        match prefix {
            "metric" | "metrics" if has_values => Ok(Key::Metric(name.to_owned())),
            "param" | "params" | "parameter" | "parameters" if has_values => {
                Ok(Key::Param(name.to_owned()))
            }
            "tag" | "tags" => Ok(Key::Tag(name.to_owned())),
            "attribute" | "attributes" | "attr" | "run" => self.attribute(name, first.start),
            "dataset" | "datasets" if self.subject == Subject::Run => match name {
                "name" => Ok(Key::Dataset("name")),
                "digest" => Ok(Key::Dataset("digest")),
                "context" => Ok(Key::Dataset("context")),
                _ => Err(error(
                    "a data set has the keys name, digest and context",
                    first.start,
                )),
            },
            _ => Err(error(
                format!(
                    "{prefix:?} is not a prefix of a key; use metrics, params, tags or attributes"
                ),
                first.start,
            )),
        }
    }

    fn attribute(&self, name: &str, position: usize) -> Result<Key> {
        let known = attributes(self.subject);
        if let Some((_, canonical, _)) = known.iter().find(|(alias, _, _)| *alias == name) {
            return Ok(Key::Attribute(canonical));
        }
        let mut names: Vec<_> = known.iter().map(|(_, canonical, _)| *canonical).collect();
        names.dedup();
        Err(error(
            format!(
                "unknown attribute {name:?}, expected one of {}",
                names.join(", ")
            ),
            position,
        ))
    }
}

fn kind(subject: Subject, key: &Key) -> Kind {
    match key {
        Key::Metric(_) => Kind::Number,
        Key::Param(_) | Key::Tag(_) => Kind::Optional,
        Key::Dataset(_) => Kind::Text,
        Key::Attribute(name) => attributes(subject)
            .iter()
            .find(|(_, canonical, _)| canonical == name)
            .map_or(Kind::Text, |(_, _, kind)| *kind),
    }
}

/// Spelling, canonical name and kind of each attribute.
fn attributes(subject: Subject) -> &'static [(&'static str, &'static str, Kind)] {
    match subject {
        Subject::Run => &[
            ("run_id", "run_id", Kind::Id),
            ("run_name", "run_name", Kind::Text),
            ("run name", "run_name", Kind::Text),
            ("Run name", "run_name", Kind::Text),
            ("Run Name", "run_name", Kind::Text),
            ("status", "status", Kind::Text),
            ("user_id", "user_id", Kind::Text),
            ("artifact_uri", "artifact_uri", Kind::Text),
            ("start_time", "start_time", Kind::Number),
            ("created", "start_time", Kind::Number),
            ("Created", "start_time", Kind::Number),
            ("end_time", "end_time", Kind::Number),
        ],
        Subject::Experiment => &[
            ("name", "name", Kind::Text),
            ("experiment_id", "experiment_id", Kind::Id),
            ("creation_time", "creation_time", Kind::Number),
            ("last_update_time", "last_update_time", Kind::Number),
        ],
        Subject::RegisteredModel => &[
            ("name", "name", Kind::Text),
            ("creation_timestamp", "creation_timestamp", Kind::Number),
            (
                "last_updated_timestamp",
                "last_updated_timestamp",
                Kind::Number,
            ),
            ("timestamp", "last_updated_timestamp", Kind::Number),
        ],
        Subject::ModelVersion => &[
            ("name", "name", Kind::Text),
            ("version_number", "version_number", Kind::Number),
            ("version", "version_number", Kind::Number),
            ("run_id", "run_id", Kind::Id),
            ("source_path", "source_path", Kind::Text),
            ("creation_timestamp", "creation_timestamp", Kind::Number),
            (
                "last_updated_timestamp",
                "last_updated_timestamp",
                Kind::Number,
            ),
        ],
        Subject::LoggedModel => &[
            ("name", "name", Kind::Text),
            ("model_name", "name", Kind::Text),
            ("model_id", "model_id", Kind::Id),
            ("model_type", "model_type", Kind::Text),
            ("status", "status", Kind::Text),
            ("source_run_id", "source_run_id", Kind::Id),
            ("creation_timestamp", "creation_timestamp", Kind::Number),
            ("creation_time", "creation_timestamp", Kind::Number),
            (
                "last_updated_timestamp",
                "last_updated_timestamp",
                Kind::Number,
            ),
            ("last_updated_time", "last_updated_timestamp", Kind::Number),
        ],
    }
}
