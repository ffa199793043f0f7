//! The pages, rendered on the server.

mod layout;
mod overview;

pub(crate) use layout::not_found;
pub(crate) use overview::overview;
