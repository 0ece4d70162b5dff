//! Searches over a toy: a table of next-token probabilities by prefix.

use super::search::*;
use std::collections::HashMap;
use velodrome_harness::contract::ModelError;

const END: i32 = 2;

/// Example and the tokens so far.
type Prefix = (usize, Vec<i32>);
/// Example, the tokens so far, and what may follow with its logarithm of a probability.
type Entry<'a> = (usize, &'a [i32], &'a [(i32, f64)]);

/// Probabilities of next tokens for each (example, prefix).
struct Toy {
    table: HashMap<Prefix, Vec<(i32, f64)>>,
    rows: Vec<(usize, Vec<i32>)>,
    steps: usize,
    widest: usize,
}

impl Toy {
    fn new(examples: usize, table: &[Entry<'_>]) -> Self {
        let entry = |(e, p, next): &Entry<'_>| ((*e, p.to_vec()), next.to_vec());
        Self {
            table: table.iter().map(entry).collect(),
            rows: (0..examples).map(|e| (e, Vec::new())).collect(),
            steps: 0,
            widest: 0,
        }
    }

    /// log(probability) of an output with its end.
    fn log_probability(&self, example: usize, output: &[i32]) -> f64 {
        let mut all = output.to_vec();
        all.push(END);
        (0..all.len())
            .map(|n| {
                let next = &self.table[&(example, all[..n].to_vec())];
                next.iter().find(|c| c.0 == all[n]).unwrap().1.ln()
            })
            .sum()
    }
}

impl Stepper for Toy {
    fn step(&mut self, last: &[i32], top: usize) -> Result<Vec<Vec<Candidate>>, ModelError> {
        assert_eq!(last.len(), self.rows.len());
        self.steps += 1;
        self.widest = self.widest.max(last.len());
        let first = self.steps == 1;
        let mut all = Vec::new();
        for ((example, prefix), &token) in self.rows.iter_mut().zip(last) {
            if !first {
                prefix.push(token);
            } else {
                assert_eq!(token, 0, "the start");
            }
            // Rows that have ended go on with anything.
            let next = self.table.get(&(*example, prefix.clone()));
            let mut next = next.cloned().unwrap_or_else(|| vec![(END, 1.0)]);
            next.sort_by(|a, b| b.1.total_cmp(&a.1));
            next.truncate(top);
            all.push(next.into_iter().map(|(t, p)| (t, p.ln() as f32)).collect());
        }
        Ok(all)
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), ModelError> {
        self.rows = rows.iter().map(|&r| self.rows[r].clone()).collect();
        Ok(())
    }
}

/// Greedy falls for 3, of which all continuations are weak; the best output starts with 4.
fn garden_path(examples: usize) -> Toy {
    let mut table: Vec<Entry<'_>> = Vec::new();
    for example in 0..examples {
        table.extend([
            (example, &[][..], &[(3, 0.5), (4, 0.4), (END, 0.1)][..]),
            (example, &[3], &[(5, 0.4), (6, 0.3), (END, 0.3)]),
            (example, &[3, 5], &[(END, 0.6), (6, 0.4)]),
            (example, &[4], &[(5, 0.9), (END, 0.1)]),
            (example, &[4, 5], &[(END, 0.95), (3, 0.05)]),
        ]);
    }
    Toy::new(examples, &table)
}

fn search(beam: usize, length_penalty: f64, max_length: usize) -> Search {
    Search {
        beam,
        length_penalty,
        max_length,
    }
}

#[test]
fn a_beam_finds_what_greedy_search_misses() {
    let outputs = greedy(&mut garden_path(1), 1, 0, END, 10).unwrap();
    assert_eq!(outputs, [vec![3, 5]]);
    let mut toy = garden_path(1);
    let found = beam_search(&mut toy, 1, 0, END, &search(2, 0.0, 10)).unwrap();
    assert_eq!(found[0].tokens, [4, 5]);
    let better = toy.log_probability(0, &[4, 5]);
    assert!((found[0].score - better).abs() < 1e-6);
    assert!(better > toy.log_probability(0, &[3, 5]));
    // 0.4 * 0.9 * 0.95, against 0.5 * 0.4 * 0.6.
    assert!((better.exp() - 0.342).abs() < 1e-9);
}

#[test]
fn a_beam_of_one_is_greedy_search() {
    // Several examples of different lengths, so that rows are dropped on the way.
    let table: [Entry<'_>; 9] = [
        (0, &[], &[(END, 0.6), (3, 0.4)]),
        (1, &[], &[(3, 0.7), (END, 0.3)]),
        (1, &[3], &[(4, 0.8), (END, 0.2)]),
        (1, &[3, 4], &[(END, 0.9), (3, 0.1)]),
        (2, &[], &[(5, 0.9), (END, 0.1)]),
        (2, &[5], &[(END, 0.8), (5, 0.2)]),
        (3, &[], &[(6, 0.6), (END, 0.4)]),
        (3, &[6], &[(6, 0.6), (END, 0.4)]),
        (3, &[6, 6], &[(6, 0.6), (END, 0.4)]),
    ];
    let outputs = greedy(&mut Toy::new(4, &table), 4, 0, END, 3).unwrap();
    assert_eq!(outputs, [vec![], vec![3, 4], vec![5], vec![6, 6, 6]]);
    let mut toy = Toy::new(4, &table);
    let found = beam_search(&mut toy, 4, 0, END, &search(1, 0.0, 3)).unwrap();
    for (example, (found, greedy)) in found.iter().zip(&outputs).enumerate().take(3) {
        assert_eq!(&found.tokens, greedy);
        let log_probability = toy.log_probability(example, greedy);
        assert!((found.score - log_probability).abs() < 1e-6);
    }
    assert_eq!(toy.widest, 4);
    // The last never ends greedily, but a search that keeps finished outputs has one: the end at once.
    assert!(found[3].tokens.is_empty());
    let through_run = search(1, 0.6, 3)
        .run(&mut Toy::new(4, &table), 4, 0, END)
        .unwrap();
    assert_eq!(through_run, outputs);
}

#[test]
fn the_length_penalty_favours_longer_outputs() {
    let table: [Entry<'_>; 4] = [
        (0, &[], &[(END, 0.52), (3, 0.48)]),
        (0, &[3], &[(4, 1.0)]),
        (0, &[3, 4], &[(5, 1.0)]),
        (0, &[3, 4, 5], &[(END, 1.0)]),
    ];
    let run = |penalty| {
        let mut toy = Toy::new(1, &table);
        beam_search(&mut toy, 1, 0, END, &search(2, penalty, 10)).unwrap()
    };
    assert!(run(0.0)[0].tokens.is_empty());
    let long = run(0.6);
    assert_eq!(long[0].tokens, [3, 4, 5]);
    // Four tokens with the end: ((5 + 4) / 6)^0.6.
    let expected = 0.48f64.ln() / 1.5f64.powf(0.6);
    assert!((long[0].score - expected).abs() < 1e-6);
}

#[test]
fn examples_do_not_mix_and_settled_ones_are_dropped() {
    // The second example ends at once.
    let mut toy = garden_path(3);
    for (example, prefix) in [(1, vec![]), (1, vec![3])] {
        toy.table
            .insert((example, prefix), vec![(END, 0.999), (3, 0.001)]);
    }
    let found = beam_search(&mut toy, 3, 0, END, &search(2, 0.0, 10)).unwrap();
    let tokens: Vec<&[i32]> = found.iter().map(|f| f.tokens.as_slice()).collect();
    assert_eq!(tokens, [&[4, 5][..], &[], &[4, 5]]);
    assert!(toy.rows.iter().all(|row| row.0 != 1));
    assert!(
        beam_search(&mut Toy::new(0, &[]), 0, 0, END, &search(2, 0.0, 4))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_output_that_never_ends_is_cut() {
    let table: [Entry<'_>; 3] = [
        (0, &[], &[(3, 1.0)]),
        (0, &[3], &[(3, 1.0)]),
        (0, &[3, 3], &[(3, 1.0)]),
    ];
    let mut toy = Toy::new(1, &table);
    let found = beam_search(&mut toy, 1, 0, END, &search(2, 0.6, 3)).unwrap();
    assert_eq!(found[0].tokens, [3, 3, 3]);
    let outputs = greedy(&mut Toy::new(1, &table), 1, 0, END, 3).unwrap();
    assert_eq!(outputs, [vec![3, 3, 3]]);
}
