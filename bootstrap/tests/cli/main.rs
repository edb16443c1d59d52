//! Runs the binary as people do: an emptied environment, a private home, everything it says.

#[cfg(test)]
mod bundle;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod program;
