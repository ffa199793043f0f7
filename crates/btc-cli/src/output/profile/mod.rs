//! The page of `btc data profile`: one HTML file that needs nothing else.

mod page;
mod svg;

pub(crate) use page::render;
