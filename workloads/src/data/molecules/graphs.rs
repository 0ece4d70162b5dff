//! Labelled graphs in main memory, a few bytes for each atom and bond.

use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// How the stored bytes of an atom or a bond become the numbers that a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// So many numbers, as they are.
    Numbers(usize),
    /// Categories: the value `v` of a category with `n` values becomes `n` numbers, a one at place
    /// `v` (at the last place where `v` is not below `n`) and zeros.
    Categories(&'static [usize]),
}

impl Coding {
    /// Bytes stored.
    pub fn stored(self) -> usize {
        match self {
            Coding::Numbers(n) => n,
            Coding::Categories(sizes) => sizes.len(),
        }
    }

    /// Numbers that they become.
    pub const fn width(self) -> usize {
        match self {
            Coding::Numbers(n) => n,
            Coding::Categories(sizes) => {
                let (mut sum, mut at) = (0, 0);
                while at < sizes.len() {
                    sum += sizes[at];
                    at += 1;
                }
                sum
            }
        }
    }

    /// Writes the numbers of `bytes` into `out`, which holds zeros and has room for
    /// `bytes.len() / stored * width`.
    fn write(self, bytes: &[u8], out: &mut [f32]) {
        let Coding::Categories(sizes) = self else {
            for (number, byte) in out.iter_mut().zip(bytes) {
                *number = f32::from(*byte);
            }
            return;
        };
        let values = sizes.iter().cycle().zip(bytes);
        let mut rest = out;
        for (&size, &value) in values {
            let Some((here, behind)) = rest.split_at_mut_checked(size) else {
                return;
            };
            if let Some(one) = here.get_mut(usize::from(value).min(size.saturating_sub(1))) {
                *one = 1.0;
            }
            rest = behind;
        }
    }
}

/// Missing, no and yes, as labels are stored and as batches give them.
pub const MISSING: i8 = -1;

/// Labelled graphs whose bonds have no direction.
#[derive(Debug, Clone)]
pub struct Graphs {
    atom: Coding,
    bond: Coding,
    tasks: usize,
    atoms: Vec<u8>,
    bonds: Vec<u8>,
    /// Ends of each bond, counted from the first atom of its graph.
    links: Vec<[u16; 2]>,
    /// Atoms and bonds before each graph, and behind the last.
    starts: Vec<[u32; 2]>,
    /// -1, 0 or 1; a row for each graph.
    labels: Vec<i8>,
}

impl Graphs {
    /// No graphs yet; each will have `tasks` labels.
    pub fn new(atom: Coding, bond: Coding, tasks: usize) -> Self {
        Self {
            atom,
            bond,
            tasks,
            atoms: Vec::new(),
            bonds: Vec::new(),
            links: Vec::new(),
            starts: vec![[0, 0]],
            labels: Vec::new(),
        }
    }

    /// Adds a graph: the stored bytes of its atoms and bonds, the ends of the bonds, and its
    /// labels. Fails where these do not fit together; nothing is added then.
    pub fn push(
        &mut self,
        atoms: &[u8],
        bonds: &[u8],
        links: &[[u16; 2]],
        labels: &[i8],
    ) -> Result<(), String> {
        let count = atoms.len() / self.atom.stored().max(1);
        if count == 0 || atoms.len() != count * self.atom.stored() {
            return Err(format!("{} bytes are no whole atoms", atoms.len()));
        }
        if bonds.len() != links.len() * self.bond.stored() {
            return Err(format!("{} bytes for {} bonds", bonds.len(), links.len()));
        }
        if let Some(link) = links
            .iter()
            .find(|l| l.iter().any(|e| usize::from(*e) >= count))
        {
            return Err(format!("bond {link:?} in a graph of {count} atoms"));
        }
        if labels.len() != self.tasks {
            return Err(format!("{} labels, expected {}", labels.len(), self.tasks));
        }
        if let Some(label) = labels.iter().find(|l| !(-1..=1).contains(*l)) {
            return Err(format!("label {label} is neither 0 nor 1 nor missing"));
        }
        let [before, bonds_before] = self.starts.last().copied().unwrap_or_default();
        let ends = [(before, count), (bonds_before, links.len())].map(|(before, more)| {
            let more = u32::try_from(more).ok();
            more.and_then(|more| before.checked_add(more))
        });
        let [Some(atoms_end), Some(bonds_end)] = ends else {
            return Err("too many atoms for one set".into());
        };
        self.atoms.extend(atoms);
        self.bonds.extend(bonds);
        self.links.extend(links);
        self.labels.extend(labels);
        self.starts.push([atoms_end, bonds_end]);
        Ok(())
    }

    /// Number of graphs.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back memory that was kept for more graphs.
    pub fn shrink(&mut self) {
        self.atoms.shrink_to_fit();
        self.bonds.shrink_to_fit();
        self.links.shrink_to_fit();
        self.starts.shrink_to_fit();
        self.labels.shrink_to_fit();
    }

    /// The labels of a graph (-1 missing, 0, 1); empty behind the last.
    pub fn labels(&self, graph: usize) -> &[i8] {
        let rows = graph * self.tasks..(graph + 1) * self.tasks;
        self.labels.get(rows).unwrap_or_default()
    }

    /// Positions of the atoms and of the bonds of a graph.
    fn ranges(&self, graph: usize) -> Option<[std::ops::Range<usize>; 2]> {
        let (from, to) = (self.starts.get(graph)?, self.starts.get(graph + 1)?);
        Some([0, 1].map(|i| from[i] as usize..to[i] as usize))
    }
}

/// Some of the graphs of a set: one split. Gives the fields
///
/// | field | values | shape |
/// |---|---|---|
/// | `atoms` | real | `[examples, most atoms, atom numbers]` |
/// | `bonds` | real | `[examples, most bonds, bond numbers]` |
/// | `links` | integer: the two ends of each bond | `[examples, most bonds, 2]` |
/// | `counts` | integer: atoms and bonds | `[examples, 2]` |
/// | `label` | integer: -1 missing, 0, 1 | `[examples, tasks]` |
///
/// padded with zeros to the graph of the batch with the most atoms and the one with the most bonds.
/// A batch's units are its atoms.
#[derive(Debug, Clone)]
pub struct GraphSplit {
    graphs: Arc<Graphs>,
    members: Vec<u32>,
}

impl GraphSplit {
    /// The graphs at `members`.
    pub fn new(graphs: Arc<Graphs>, members: Vec<u32>) -> Self {
        Self { graphs, members }
    }

    /// Positions of its graphs in the whole set.
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// The whole set.
    pub fn graphs(&self) -> &Graphs {
        &self.graphs
    }
}

impl Dataset for GraphSplit {
    fn len(&self) -> usize {
        self.members.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let graphs = &*self.graphs;
        let chosen: Vec<_> = indices
            .iter()
            .filter_map(|index| {
                let graph = *self.members.get(*index)? as usize;
                Some((graph, graphs.ranges(graph)?))
            })
            .collect();
        let examples = chosen.len();
        let most = |part: usize| chosen.iter().map(|(_, r)| r[part].len()).max().unwrap_or(0);
        // At least one row, so that no field is empty.
        let (most_atoms, most_bonds) = (most(0).max(1), most(1).max(1));
        let (atom_width, bond_width) = (graphs.atom.width(), graphs.bond.width());
        let mut atoms = vec![0f32; examples * most_atoms * atom_width];
        let mut bonds = vec![0f32; examples * most_bonds * bond_width];
        let mut links = vec![0i32; examples * most_bonds * 2];
        let mut counts = Vec::with_capacity(2 * examples);
        let mut labels = Vec::with_capacity(examples * graphs.tasks);
        for (example, (graph, [own_atoms, own_bonds])) in chosen.iter().enumerate() {
            let bytes = |of: &std::ops::Range<usize>, each| of.start * each..of.end * each;
            let stored = &graphs.atoms[bytes(own_atoms, graphs.atom.stored())];
            let room = &mut atoms[example * most_atoms * atom_width..];
            graphs.atom.write(stored, room);
            let stored = &graphs.bonds[bytes(own_bonds, graphs.bond.stored())];
            let room = &mut bonds[example * most_bonds * bond_width..];
            graphs.bond.write(stored, room);
            let ends = graphs.links[own_bonds.clone()].iter().flatten();
            let room = &mut links[example * most_bonds * 2..];
            for (place, end) in room.iter_mut().zip(ends) {
                *place = i32::from(*end);
            }
            counts.extend([own_atoms.len() as i32, own_bonds.len() as i32]);
            labels.extend(graphs.labels(*graph).iter().map(|l| i32::from(*l)));
        }
        let real = |name, shape: [usize; 3], values| HostField {
            name,
            shape: shape.to_vec(),
            values: HostValues::Float(values),
        };
        let integer = |name, shape: &[usize], values| HostField {
            name,
            shape: shape.to_vec(),
            values: HostValues::Int(values),
        };
        let units = counts.iter().step_by(2).map(|n| *n as usize).sum();
        HostBatch {
            fields: vec![
                real("atoms", [examples, most_atoms, atom_width], atoms),
                real("bonds", [examples, most_bonds, bond_width], bonds),
                integer("links", &[examples, most_bonds, 2], links),
                integer("counts", &[examples, 2], counts),
                integer("label", &[examples, graphs.tasks], labels),
            ],
            examples,
            units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATOM: Coding = Coding::Categories(&[3, 2]);

    fn two() -> GraphSplit {
        let mut graphs = Graphs::new(ATOM, Coding::Numbers(1), 2);
        graphs.push(&[0, 1], &[], &[], &[1, MISSING]).unwrap();
        let (atoms, bonds) = ([2, 0, 1, 1, 9, 0], [7, 8]);
        let links = [[0, 1], [2, 1]];
        graphs.push(&atoms, &bonds, &links, &[0, 1]).unwrap();
        GraphSplit::new(Arc::new(graphs), vec![1, 0])
    }

    fn field(batch: &HostBatch, at: usize) -> (Vec<usize>, HostValues) {
        (
            batch.fields[at].shape.clone(),
            batch.fields[at].values.clone(),
        )
    }

    #[test]
    fn a_batch_is_padded_to_its_largest_graph() {
        let batch = two().batch(&[1, 0, 2]);
        assert_eq!((batch.examples, batch.units), (2, 4));
        let (shape, values) = field(&batch, 0);
        assert_eq!(shape, [2, 3, 5]);
        let mut atoms = vec![1.0, 0.0, 0.0, 0.0, 1.0];
        atoms.extend([0.0; 10]);
        atoms.extend([0.0, 0.0, 1.0, 1.0, 0.0]);
        atoms.extend([0.0, 1.0, 0.0, 0.0, 1.0]);
        // The 9 is no value of the first category and counts as its last.
        atoms.extend([0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(values, HostValues::Float(atoms));
        let (shape, values) = field(&batch, 1);
        assert_eq!(shape, [2, 2, 1]);
        assert_eq!(values, HostValues::Float(vec![0.0, 0.0, 7.0, 8.0]));
        let (_, links) = field(&batch, 2);
        assert_eq!(links, HostValues::Int(vec![0, 0, 0, 0, 0, 1, 2, 1]));
        let (_, counts) = field(&batch, 3);
        assert_eq!(counts, HostValues::Int(vec![1, 0, 3, 2]));
        let (_, labels) = field(&batch, 4);
        assert_eq!(labels, HostValues::Int(vec![1, -1, 0, 1]));
        // A graph without bonds alone still has a row.
        assert_eq!(field(&two().batch(&[1]), 1).0, [1, 1, 1]);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let mut graphs = Graphs::new(ATOM, Coding::Numbers(1), 1);
        let push = |graphs: &mut Graphs, atoms: &[u8], bonds: &[u8], links: &[[u16; 2]], label| {
            graphs.push(atoms, bonds, links, label).is_ok()
        };
        assert!(!push(&mut graphs, &[], &[], &[], &[0]));
        assert!(!push(&mut graphs, &[1], &[], &[], &[0]));
        assert!(!push(&mut graphs, &[1, 1], &[1], &[], &[0]));
        assert!(!push(&mut graphs, &[1, 1], &[1], &[[0, 1]], &[0]));
        assert!(!push(&mut graphs, &[1, 1], &[], &[], &[]));
        assert!(!push(&mut graphs, &[1, 1], &[], &[], &[2]));
        assert!(graphs.is_empty());
        assert!(push(&mut graphs, &[1, 1, 0, 0], &[1], &[[0, 1]], &[-1]));
        assert_eq!(graphs.len(), 1);
    }
}
