//! Servers on a small network of their own: what an acknowledged binding is worth when servers die, come and part.

mod durability;
mod hostile;
mod world;
