//! Tests of the code as a whole.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod layers;
