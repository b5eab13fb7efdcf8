//! Measures Poseidon and the sparse Merkle tree. For comparison, the same run hashes the same inputs with
//! `light-poseidon` (arkworks).

#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use emr_rollup::{
    primitive::{field::Fr, poseidon},
    state::tree::SparseMerkleTree,
};
use light_poseidon::PoseidonHasher;

fn hashing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("poseidon of four");
    group.bench_function("ours", |bencher| {
        let mut node = Fr::from(1);
        bencher.iter(|| node = poseidon::node([black_box(node), Fr::from(2), Fr::from(3), Fr::from(4)]));
    });
    group.bench_function("peer: light-poseidon", |bencher| {
        let mut hasher = light_poseidon::Poseidon::<ark_bn254::Fr>::new_circom(4).expect("four inputs are supported");
        let mut node = ark_bn254::Fr::from(1);
        bencher.iter(|| node = hasher.hash(&[black_box(node), 2.into(), 3.into(), 4.into()]).expect("four inputs"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("tree of depth 24");
    let mut tree = SparseMerkleTree::new(24);
    for position in 0..1000 {
        tree.set(position * 16_411, Fr::from(u64::from(position) + 1).into());
    }
    group.bench_function("set one leaf of 1000", |bencher| {
        let mut value = 0u64;
        bencher.iter(|| {
            value += 1;
            tree.set(16_411, Fr::from(value).into());
        });
    });
    group.bench_function("peer: 12 hashes of light-poseidon", |bencher| {
        let mut hasher = light_poseidon::Poseidon::<ark_bn254::Fr>::new_circom(4).expect("four inputs are supported");
        bencher.iter(|| {
            (0..12).fold(ark_bn254::Fr::from(1), |node, _| {
                hasher.hash(&[black_box(node), 2.into(), 3.into(), 4.into()]).expect("four inputs")
            })
        });
    });
    group.finish();
}

criterion_group!(benches, hashing);
criterion_main!(benches);
