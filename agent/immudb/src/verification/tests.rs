//! Laws that hold for every history, and proofs that real servers gave.

use proptest::prelude::*;
use prost::Message as _;

use super::header::Content;
use super::model::{Choice, History, extra, message};
use super::{DualProof, Refusal};
use crate::hash::Hash;
use crate::schema;
use crate::state::State;

mod vectors;

/// Longest history that is made up.
const LONGEST: u64 = 40;

fn content() -> impl Strategy<Value = Content> {
    let metadata = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        1 => any::<u16>().prop_map(|entries| Content::V0 { entries }),
        4 => (1..2_000_000_u32, metadata).prop_map(|(entries, bytes)| Content::V1 {
            entries,
            metadata: extra(&bytes),
        }),
    ]
}

/// Trees that follow at once, as today, and trees that lag, as they once did.
fn choice() -> impl Strategy<Value = Choice> {
    let lag = prop_oneof![2 => Just(1), 1 => 1..12_u64];
    (lag, any::<i64>(), content(), any::<u64>()).prop_map(|(lag, timestamp, content, entries)| {
        Choice {
            lag,
            timestamp,
            content,
            entries,
        }
    })
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    prop::collection::vec(choice(), 1..=usize::try_from(LONGEST).unwrap())
}

/// A history and two transactions of it, in order.
fn stretch() -> impl Strategy<Value = (Vec<Choice>, u64, u64)> {
    (
        choices(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(choices, one, other)| {
            let mut ids = [one.index(choices.len()), other.index(choices.len())];
            ids.sort_unstable();
            let [source, target] = ids.map(|index| u64::try_from(index + 1).unwrap());
            (choices, source, target)
        })
}

/// Bits of the message are flipped in steps of this many, from a place that differs per proof.
const STRIDE: usize = 31;

/// Flips single bits of the message: nothing that differs from the proof may pass.
fn assert_no_bit_can_change(
    proof: &DualProof,
    bytes: &[u8],
    (source, target): (&State, &State),
    first: usize,
) {
    for position in (first % STRIDE..bytes.len() * 8).step_by(STRIDE) {
        let mut damaged = bytes.to_vec();
        damaged[position / 8] ^= 1 << (position % 8);
        let Ok(decoded) = schema::DualProof::decode(damaged.as_slice()) else {
            continue;
        };
        let Ok(decoded) = DualProof::try_from(decoded) else {
            continue;
        };
        assert!(
            decoded == *proof || decoded.verify(source, target).is_err(),
            "bit {position} of {} can be changed",
            bytes.len() * 8
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_true_can_be_proved((choices, source, target) in stretch()) {
        let history = History::new(&choices);
        let proof = history.prove(source, target);
        prop_assert_eq!(proof.verify(&history.state(source), &history.state(target)), Ok(()));
        // Over the wire it is the same proof.
        prop_assert_eq!(DualProof::try_from(message(&proof)), Ok(proof));
    }

    #[test]
    fn no_bit_of_a_proof_can_change((choices, source, target) in stretch(), first in 0..STRIDE) {
        let history = History::new(&choices);
        let proof = history.prove(source, target);
        let bytes = message(&proof).encode_to_vec();
        let (source, target) = (history.state(source), history.state(target));
        assert_no_bit_can_change(&proof, &bytes, (&source, &target), first);
    }

    #[test]
    fn a_proof_is_for_its_states_only((choices, source, target) in stretch(), bit in 0..256_usize) {
        let history = History::new(&choices);
        let proof = history.prove(source, target);
        let (source, target) = (history.state(source), history.state(target));
        let mut other = source.hash.as_bytes().to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        let forged = State { hash: Hash::try_from(other.as_slice()).unwrap(), ..source };
        prop_assert_eq!(proof.verify(&forged, &target), Err(Refusal::Source));
        prop_assert_eq!(proof.verify(&State { tx: source.tx + 1, ..source }, &target), Err(Refusal::Source));
        prop_assert!(proof.verify(&source, &forged).is_err());
    }

    /// Both histories begin alike; one transaction differs. Nothing one of them says can prove that the
    /// other's states belong to it, not even with the header exchanged.
    #[test]
    fn a_fork_cannot_be_proved(
        (choices, source, target) in stretch(),
        at in any::<prop::sample::Index>(),
    ) {
        let fork = at.index(usize::try_from(source).unwrap());
        let mut changed = choices.clone();
        changed[fork].entries ^= 1;
        let (ours, theirs) = (History::new(&choices), History::new(&changed));
        let mut proof = theirs.prove(source, target);
        let (recorded, current) = (ours.state(source), theirs.state(target));
        prop_assert_eq!(proof.verify(&recorded, &current), Err(Refusal::Source));
        proof.source = ours.header(source).clone();
        prop_assert!(proof.verify(&recorded, &current).is_err());
    }

    /// The tree of the newer state has another transaction where the chain of the older one had its own.
    #[test]
    fn a_tree_that_lies_is_found(choices in choices(), at in any::<prop::sample::Index>()) {
        let last = u64::try_from(choices.len()).unwrap();
        let lie = u64::try_from(at.index(choices.len()) + 1).unwrap();
        let history = History::with_lies(&choices, |id, hash| {
            if id == lie { Hash::of(&[hash.as_bytes()]) } else { hash }
        });
        let target = history.state(last);
        for source in lie..last {
            // Once the older tree has the lie as well, the two states agree about it.
            let header = history.header(source);
            if history.header(last).tree_size >= lie && header.tree_size < lie {
                let proof = history.prove(source, last);
                prop_assert!(proof.verify(&header.state(), &target).is_err(), "{} to {}", source, last);
            }
        }
    }
}

#[test]
fn every_pair_of_a_long_history_is_proved() {
    let choices: Vec<Choice> = (0..70)
        .map(|n| Choice {
            lag: 1,
            timestamp: n,
            content: Content::V1 {
                entries: 1,
                metadata: Vec::new(),
            },
            entries: n.unsigned_abs(),
        })
        .collect();
    let history = History::new(&choices);
    for target in 1..=70 {
        for source in 1..=target {
            let proof = history.prove(source, target);
            let outcome = proof.verify(&history.state(source), &history.state(target));
            assert_eq!(outcome, Ok(()), "{source} to {target}");
        }
    }
}

#[test]
fn order_matters() {
    let choice = Choice {
        lag: 1,
        timestamp: 0,
        content: Content::V0 { entries: 1 },
        entries: 0,
    };
    let history = History::new(&[choice.clone(), choice]);
    let mut proof = history.prove(1, 2);
    std::mem::swap(&mut proof.source, &mut proof.target);
    let outcome = proof.verify(&history.state(2), &history.state(1));
    assert_eq!(outcome, Err(Refusal::Order));
}
