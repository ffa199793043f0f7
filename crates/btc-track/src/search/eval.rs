//! Whether an object satisfies a filter, and which of two comes first.

use std::cmp::Ordering;

use super::{Clause, Comparator, Filter, Literal, OrderBy};

/// A value of a searched thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A metric or a time.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// Whether `filter` lets a thing pass whose values `lookup` gives.
///
/// A key can have several values (data sets); one that matches suffices.
pub(crate) fn matches(filter: &Filter, mut lookup: impl FnMut(&super::Key) -> Vec<Scalar>) -> bool {
    filter.clauses.iter().all(|clause| {
        let values = lookup(&clause.key);
        match clause.comparator {
            Comparator::IsNull => values.is_empty(),
            Comparator::IsNotNull => !values.is_empty(),
            // MLflow's client adds this comparison to its searches of the
            // registry, where it has to let ordinary models pass.
            Comparator::Ne if values.is_empty() => {
                matches!(&clause.key, super::Key::Tag(tag) if tag == "mlflow.prompt.is_prompt")
            }
            _ => values.iter().any(|value| clause_matches(clause, value)),
        }
    })
}

fn clause_matches(clause: &Clause, value: &Scalar) -> bool {
    match (value, &clause.literal) {
        (Scalar::Number(value), Literal::Number(literal)) => match clause.comparator {
            Comparator::Eq => value == literal,
            Comparator::Ne => value != literal,
            Comparator::Lt => value < literal,
            Comparator::Le => value <= literal,
            Comparator::Gt => value > literal,
            Comparator::Ge => value >= literal,
            _ => false,
        },
        (Scalar::Text(value), Literal::Text(literal)) => match clause.comparator {
            Comparator::Eq => value == literal,
            Comparator::Ne => value != literal,
            Comparator::Like => like(value, literal, false),
            Comparator::ILike => like(value, literal, true),
            _ => false,
        },
        (Scalar::Text(value), Literal::List(items)) => match clause.comparator {
            Comparator::In => items.contains(value),
            Comparator::NotIn => !items.contains(value),
            _ => false,
        },
        _ => false,
    }
}

/// SQL's LIKE: `%` stands for any text, `_` for any one character.
///
/// Without regard to ASCII case if `ignore_case`.
///
/// ```
/// use btc_track::search::like;
///
/// assert!(like("crypto-reg-1", "crypto%1", false));
/// assert!(!like("Crypto", "crypto", false));
/// ```
pub fn like(text: &str, pattern: &str, ignore_case: bool) -> bool {
    let fold = |c: char| {
        if ignore_case {
            c.to_ascii_lowercase()
        } else {
            c
        }
    };
    let text: Vec<char> = text.chars().map(fold).collect();
    let pattern: Vec<char> = pattern.chars().map(fold).collect();
    let (mut t, mut p) = (0, 0);
    // The last `%` and the text position it currently reaches: linear space
    // and at worst quadratic time, whatever the pattern.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'%') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|&c| c == '_' || c == text[t]) {
            t += 1;
            p += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '%')
}

/// Orders two things by `keys`: values first, then NaN, then missing values,
/// whatever the direction.
pub(crate) fn compare_ordered(
    keys: &[OrderBy],
    left: impl Fn(&super::Key) -> Option<Scalar>,
    right: impl Fn(&super::Key) -> Option<Scalar>,
) -> Ordering {
    keys.iter()
        .map(|order| {
            let (left, right) = (left(&order.key), right(&order.key));
            rank(&left).cmp(&rank(&right)).then_with(|| {
                let ordering = compare(&left, &right);
                if order.descending {
                    ordering.reverse()
                } else {
                    ordering
                }
            })
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn rank(value: &Option<Scalar>) -> u8 {
    match value {
        Some(Scalar::Number(number)) if number.is_nan() => 1,
        Some(_) => 0,
        None => 2,
    }
}

fn compare(left: &Option<Scalar>, right: &Option<Scalar>) -> Ordering {
    match (left, right) {
        (Some(Scalar::Number(left)), Some(Scalar::Number(right))) => {
            left.partial_cmp(right).unwrap_or(Ordering::Equal)
        }
        (Some(Scalar::Text(left)), Some(Scalar::Text(right))) => left.cmp(right),
        _ => Ordering::Equal,
    }
}
