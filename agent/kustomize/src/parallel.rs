//! Work on many independent items, shared among the cores.

/// Weight below which threads cost more than they save.
const WORTHWHILE: usize = 64 << 10;
/// What an object weighs: about the length of its text.
const OBJECT: usize = 256;
const MAX_THREADS: usize = 8;

/// Calls `work` on consecutive shares of the objects, one per core, and returns the results in
/// the order of the objects. `None` if a share was lost to a panic.
pub(crate) fn shares<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Option<Vec<R>> {
    shares_by(items, |_| OBJECT, work)
}

/// [`shares`] for items of different weight, in bytes of text.
pub(crate) fn shares_by<T: Send, R: Send>(
    mut items: Vec<T>,
    weight: impl Fn(&T) -> usize,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Option<Vec<R>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let weight: usize = items.iter().map(weight).sum();
    let threads = if weight < WORTHWHILE {
        1
    } else {
        cores.min(MAX_THREADS)
    };
    let share = items.len().div_ceil(threads).max(1);
    let mut others = Vec::new();
    while items.len() > share {
        let rest = items.split_off(share);
        others.push(std::mem::replace(&mut items, rest));
    }
    let work = &work;
    std::thread::scope(|scope| {
        let started: Vec<_> = others
            .into_iter()
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let last = work(items);
        let mut results = Vec::with_capacity(started.len() + 1);
        for thread in started {
            results.push(thread.join().ok()?);
        }
        results.push(last);
        Some(results)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order() {
        for count in [0, 1, 2, 255, 256, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let results = shares(items.clone(), |share| share).unwrap();
            assert_eq!(results.concat(), items);
        }
    }
}
