//! Controls: sounds exchanged between scenes, and texts between classes. A model that listens and
//! reads loses its score.

use crate::model::ClassId;

/// Seed of both, so that a report can be repeated.
const SEED: u64 = 0x5357_4150;

/// Whose sound each scene gets. `sounding` holds what sounds in each scene; scenes without sound keep
/// their own. Every sound is used once, and wherever possible scene and donor share no class.
pub fn partners(sounding: &[Option<Vec<ClassId>>]) -> Vec<usize> {
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
    let mut partners: Vec<usize> = (0..sounding.len()).collect();
    scenes.into_iter().zip(donors).for_each(|(scene, donor)| partners[scene] = donor);
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
        assert!(is_permutation(&partners));
        for (scene, &donor) in partners.iter().enumerate() {
            match (&sounding[scene], &sounding[donor]) {
                (Some(own), Some(other)) => assert!(!own.iter().any(|class| other.contains(class))),
                (None, None) => assert_eq!(scene, donor),
                pair => panic!("{pair:?}"),
            }
        }
    }

    #[test]
    fn where_no_exchange_helps_there_is_still_an_answer() {
        assert_eq!(partners(&[Some(vec![1])]), [0]);
        assert!(is_permutation(&partners(&[Some(vec![1]), Some(vec![1])])));
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
