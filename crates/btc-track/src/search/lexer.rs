//! The words of a filter.

use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// Letters, digits, `_ . - / : @ $`.
    Word(&'a str),
    /// In backticks.
    Backtick(&'a str),
    /// In single quotes.
    Single(&'a str),
    /// In double quotes: a key on the left, a text on the right.
    Double(&'a str),
    Number(f64),
    Operator(&'static str),
    Comma,
    Open,
    Close,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) fn error(message: impl Into<String>, position: usize) -> Error {
    Error::InvalidFilter {
        message: message.into(),
        position,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@' | '$')
}

/// Splits a filter or an ordering into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned<'_>>> {
    // For SQLite a pattern ends there.
    if let Some(position) = text.find('\0') {
        return Err(error("a NUL character is not allowed", position));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let start = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        let (token, length) = match first {
            '\'' | '"' | '`' => quoted(rest, first, start)?,
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '=' | '!' | '<' | '>' => operator(rest, start)?,
            '0'..='9' | '+' | '-' | '.' => number(rest, start)?,
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
            ';' => return Err(error("';' is not allowed", start)),
            c => return Err(error(format!("unexpected {c:?}"), start)),
        };
        rest = &rest[length..];
        tokens.push(Spanned {
            token,
            start,
            end: start + length,
        });
    }
}

fn quoted(rest: &str, quote: char, start: usize) -> Result<(Token<'_>, usize)> {
    let body = &rest[1..];
    let end = body.find(quote).ok_or_else(|| {
        error(
            format!("the text after {quote} has no closing {quote}"),
            start,
        )
    })?;
    let inner = &body[..end];
    let token = match quote {
        '`' => Token::Backtick(inner),
        '"' => Token::Double(inner),
        _ => Token::Single(inner),
    };
    Ok((token, end + 2))
}

fn operator(rest: &str, start: usize) -> Result<(Token<'static>, usize)> {
    const OPERATORS: [&str; 7] = ["!=", "<=", ">=", "<>", "=", "<", ">"];
    match OPERATORS
        .into_iter()
        .find(|operator| rest.starts_with(operator))
    {
        Some("<>") => Err(error("'<>' is not supported, write '!='", start)),
        Some(operator) => Ok((Token::Operator(operator), operator.len())),
        None => Err(error("unexpected '!'", start)),
    }
}

fn number(rest: &str, start: usize) -> Result<(Token<'static>, usize)> {
    let bytes = rest.as_bytes();
    let mut length = 0;
    while length < bytes.len() {
        let after_exponent = length > 0 && matches!(bytes[length - 1], b'e' | b'E');
        match bytes[length] {
            b'+' | b'-' if length == 0 || after_exponent => {}
            b'+' | b'-' => break,
            b if b.is_ascii_alphanumeric() || b == b'.' || b == b'_' => {}
            _ => break,
        }
        length += 1;
    }
    let text = &rest[..length];
    // `parse` also reads words such as "inf"; a number here has a digit.
    let has_digit = text.bytes().any(|b| b.is_ascii_digit());
    match text.parse::<f64>() {
        // Stored values are finite, so the number they are compared with is too.
        Ok(value) if has_digit => Ok((Token::Number(crate::store::finite(value)), length)),
        _ => Err(error(
            format!("{:?} is not a number", first_word(rest)),
            start,
        )),
    }
}

fn first_word(rest: &str) -> &str {
    rest.split_whitespace().next().unwrap_or(rest)
}
