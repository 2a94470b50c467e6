//! Controls: sounds exchanged between scenes, and texts between classes. A model that listens and
//! reads loses its score.

use crate::model::ClassId;

/// Seed of both, so that a report can be repeated.
const SEED: u64 = 0x5357_4150;

/// Whose sound each scene gets. `sounding` holds what sounds in each scene; one without sound has none to exchange, and
/// one that is left with its own sound, or with one of a class of its own, gets none. No sound is used twice.
pub fn partners(sounding: &[Option<Vec<ClassId>>]) -> Vec<Option<usize>> {
    let scenes: Vec<usize> = (0..sounding.len()).filter(|&i| sounding[i].is_some()).collect();
    let mut donors = scenes.clone();
    fastrand::Rng::with_seed(SEED).shuffle(&mut donors);
    let shares = |a: usize, b: usize| match (&sounding[a], &sounding[b]) {
        (Some(a), Some(b)) => a.iter().any(|class| b.contains(class)),
        _ => false,
    };
    let clash = |scene: usize, donor: usize| scene == donor || shares(scene, donor);
    for i in 0..scenes.len() {
        if clash(scenes[i], donors[i]) {
            let settles = |&j: &usize| !clash(scenes[i], donors[j]) && !clash(scenes[j], donors[i]);
            if let Some(j) = (0..scenes.len()).find(settles) {
                donors.swap(i, j);
            }
        }
    }
    let mut partners = vec![None; sounding.len()];
    let pairs = scenes.into_iter().zip(donors);
    pairs.for_each(|(scene, donor)| partners[scene] = (!clash(scene, donor)).then_some(donor));
    partners
}

/// An order of `count` things in which none stays in its place (for a count of 2 or more).
pub fn derangement(count: usize) -> Vec<usize> {
    let mut cycle: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(SEED).shuffle(&mut cycle);
    let mut order = vec![0; count];
    (0..count).for_each(|i| order[cycle[i]] = cycle[(i + 1) % count]);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_permutation(order: &[usize]) -> bool {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..order.len())
    }

    #[test]
    fn every_scene_gets_the_sound_of_other_classes() {
        let sounding: Vec<_> = (0..60).map(|i| (i % 7 != 0).then(|| vec![i % 5, 5 + i % 3])).collect();
        let partners = partners(&sounding);
        let mut used = Vec::new();
        for (own, donor) in sounding.iter().zip(partners) {
            let other = donor.and_then(|donor| sounding[donor].as_ref());
            assert_eq!(own.is_some(), other.is_some(), "every sound, and no silence, is exchanged");
            let shared = |other: &Vec<usize>| own.iter().flatten().any(|class| other.contains(class));
            assert!(!other.is_some_and(shared), "{own:?} {other:?}");
            used.extend(donor);
        }
        used.sort_unstable();
        assert!(used.is_sorted_by(|a, b| a < b), "a sound is used twice: {used:?}");
    }

    #[test]
    fn a_scene_that_no_other_sound_fits_gets_none() {
        assert_eq!(partners(&[Some(vec![1])]), [None], "not its own");
        assert_eq!(partners(&[Some(vec![1]), None, Some(vec![1, 2])]), [None; 3], "not one of its own class");
        let cats_and_a_dog = partners(&[Some(vec![1]), Some(vec![1]), Some(vec![1]), Some(vec![2])]);
        assert_eq!(cats_and_a_dog[3].map(|donor| donor < 3), Some(true), "{cats_and_a_dog:?}");
        assert_eq!(cats_and_a_dog.iter().flatten().count(), 2, "one cat has the dog's");
        assert!(partners(&[]).is_empty());
    }

    #[test]
    fn no_class_keeps_its_text() {
        for count in [2, 3, 51] {
            let order = derangement(count);
            assert!(is_permutation(&order));
            assert!(order.iter().enumerate().all(|(i, &other)| i != other));
        }
    }
}
