//! Batches of graphs on their way from padded fields to the rows that a model computes on.

use burn::tensor::{Int, Tensor, TensorData};
use velodrome_harness::contract::{Batch, ModelError};

/// Which rows belong together, once the padding of a batch is gone.
pub(super) struct Links {
    pub(super) graphs: usize,
    /// By directed bond: an atom.
    pub(super) senders: Tensor<1, Int>,
    pub(super) receivers: Tensor<1, Int>,
    /// By atom: a graph.
    pub(super) graph_of_atom: Tensor<1, Int>,
    /// Whether the only bond is one that is not there, which keeps tensors from being empty.
    pub(super) ghost: bool,
}

/// The atoms and bonds of a batch without padding, and the links between them. Counts and ends are
/// read into main memory, where they are checked; the model computes on real rows only, so that
/// padding costs nothing and changes nothing.
pub(super) fn unpad(
    batch: &Batch,
    config: [usize; 2],
) -> Result<(Tensor<2>, Tensor<2>, Links), ModelError> {
    let atoms = batch.float::<3>("atoms")?;
    let bonds = batch.float::<3>("bonds")?;
    let ([graphs, most_atoms, atom], [_, most_bonds, bond]) = (atoms.dims(), bonds.dims());
    if [atom, bond] != config {
        return Err(ModelError::Compute(format!(
            "atoms have {atom} numbers and bonds {bond}; this model was built for {config:?}"
        )));
    }
    let host = |flat: Tensor<1, Int>| {
        let data = flat.into_data().convert::<i32>().try_to_vec::<i32>();
        data.map_err(|e| ModelError::Compute(format!("the links cannot be read: {e}")))
    };
    let counts = host(batch.int::<2>("counts")?.flatten(0, 1))?;
    let ends = host(batch.int::<3>("links")?.flatten(0, 2))?;
    let wrong = |example: usize| {
        ModelError::Compute(format!(
            "the graph of example {example} points outside of itself"
        ))
    };
    let (mut atom_rows, mut bond_rows) = (Vec::new(), Vec::new());
    let (mut from, mut to, mut graph_of_atom) = (Vec::new(), Vec::new(), Vec::new());
    for (example, count) in counts.chunks_exact(2).enumerate() {
        let [own_atoms, own_bonds] = [count[0], count[1]].map(|n| usize::try_from(n).unwrap_or(0));
        if own_atoms == 0 || own_atoms > most_atoms || own_bonds > most_bonds {
            return Err(wrong(example));
        }
        let before = atom_rows.len() as i32;
        let own = ends
            .chunks_exact(2)
            .skip(example * most_bonds)
            .take(own_bonds);
        for pair in own {
            if pair.iter().any(|end| *end < 0 || *end >= count[0]) {
                return Err(wrong(example));
            }
            from.push(before + pair[0]);
            to.push(before + pair[1]);
        }
        atom_rows.extend((0..own_atoms).map(|i| (example * most_atoms + i) as i32));
        bond_rows.extend((0..own_bonds).map(|i| (example * most_bonds + i) as i32));
        graph_of_atom.extend(std::iter::repeat_n(example as i32, own_atoms));
    }
    if graphs == 0 || counts.len() != 2 * graphs || most_bonds == 0 {
        return Err(ModelError::Compute("the batch holds no graphs".into()));
    }
    let ghost = from.is_empty();
    if ghost {
        for rows in [&mut from, &mut to, &mut bond_rows] {
            rows.push(0);
        }
    }
    let device = atoms.device();
    let index = |rows: Vec<i32>| {
        let n = rows.len();
        Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &device)
    };
    let both = |mut first: Vec<i32>, second: &[i32]| {
        first.extend(second);
        index(first)
    };
    let atoms = atoms.reshape([graphs * most_atoms, atom]);
    let bonds = bonds.reshape([graphs * most_bonds, bond]);
    let atoms = atoms.select(0, index(atom_rows));
    let bonds = bonds.select(0, index(bond_rows));
    let links = Links {
        graphs,
        senders: both(from.clone(), &to),
        receivers: both(to, &from),
        graph_of_atom: index(graph_of_atom),
        ghost,
    };
    Ok((atoms, bonds, links))
}
