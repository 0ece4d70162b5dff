//! Molecules as graphs, and what follows from the text of a molecule without being written in it:
//! hydrogens, rings, aromatic and conjugated bonds.

/// Order of a bond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One pair of electrons.
    Single,
    /// Two.
    Double,
    /// Three.
    Triple,
    /// Four.
    Quadruple,
    /// A bond of an aromatic ring.
    Aromatic,
}

impl Order {
    /// What it adds to the valence of an atom; the share of an aromatic system is counted once for
    /// the atom, not for its bonds.
    fn valence(self) -> u32 {
        match self {
            Order::Single | Order::Aromatic => 1,
            Order::Double => 2,
            Order::Triple => 3,
            Order::Quadruple => 4,
        }
    }
}

/// How the neighbours of an atom are arranged, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chirality {
    /// Not stated.
    None,
    /// `@`.
    Anticlockwise,
    /// `@@`.
    Clockwise,
    /// One of the named arrangements (`@TH1`, `@SP2`, ...).
    Other,
}

/// An atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Atom {
    /// Atomic number; 0 for the wildcard `*`.
    pub element: u8,
    /// Mass number, 0 where none is given.
    pub isotope: u16,
    /// Formal charge.
    pub charge: i8,
    /// Hydrogens that are not atoms of their own.
    pub hydrogens: u8,
    /// Whether it was written as aromatic.
    pub aromatic: bool,
    /// Arrangement of its neighbours.
    pub chirality: Chirality,
    /// Whether it is in a ring.
    pub in_ring: bool,
    /// Bonds to other atoms of the graph.
    pub degree: u16,
}

/// A bond between the atoms `from` and `to`, which came in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// Position of the first atom.
    pub from: u16,
    /// Position of the second atom.
    pub to: u16,
    /// Its order.
    pub order: Order,
    /// Whether it is in a ring.
    pub in_ring: bool,
    /// Whether it is aromatic, a single bond between two atoms with multiple bonds, or a multiple
    /// bond next to such a single bond. Lone pairs are not looked at.
    pub conjugated: bool,
}

/// A molecule, or several side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Molecule {
    /// The atoms, in the order of the text.
    pub atoms: Vec<Atom>,
    /// The bonds, in the order in which their second end came.
    pub bonds: Vec<Bond>,
}

/// A bond as read: `order` is `None` where the text leaves it to the two atoms.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadBond {
    pub from: u16,
    pub to: u16,
    pub order: Option<Order>,
}

impl Molecule {
    /// Completes what was read. `bare[i]` says that atom `i` stood outside of brackets, so that its
    /// hydrogens follow from its valence.
    pub(super) fn complete(mut atoms: Vec<Atom>, bare: &[bool], read: &[ReadBond]) -> Self {
        let links = Links::new(atoms.len(), read);
        let in_ring = links.ring_bonds(read.len());
        let mut valences = vec![0u32; atoms.len()];
        let mut bonds = Vec::with_capacity(read.len());
        for (bond, &in_ring) in read.iter().zip(&in_ring) {
            let (a, b) = (usize::from(bond.from), usize::from(bond.to));
            let both_aromatic = atoms[a].aromatic && atoms[b].aromatic;
            let order = bond.order.unwrap_or(if both_aromatic && in_ring {
                Order::Aromatic
            } else {
                Order::Single
            });
            for end in [a, b] {
                valences[end] += order.valence();
                atoms[end].degree += 1;
                atoms[end].in_ring |= in_ring;
            }
            bonds.push(Bond {
                from: bond.from,
                to: bond.to,
                order,
                in_ring,
                conjugated: order == Order::Aromatic,
            });
        }
        for ((atom, bare), valence) in atoms.iter_mut().zip(bare).zip(valences) {
            if *bare {
                atom.hydrogens = implied_hydrogens(atom.element, atom.aromatic, valence);
            }
        }
        conjugate(atoms.len(), &mut bonds);
        Self { atoms, bonds }
    }
}

/// Hydrogens that fill an atom up to the next of its usual valences (the OpenSMILES rule). An
/// aromatic atom gives one electron to its ring, and only its lowest valence counts.
fn implied_hydrogens(element: u8, aromatic: bool, valence: u32) -> u8 {
    let usual: &[u8] = match element {
        5 => &[3],
        6 => &[4],
        7 | 15 => &[3, 5],
        8 => &[2],
        16 => &[2, 4, 6],
        9 | 17 | 35 | 53 => &[1],
        _ => &[],
    };
    let (usual, valence) = match aromatic {
        true => (usual.get(..1).unwrap_or_default(), valence + 1),
        false => (usual, valence),
    };
    let full = usual.iter().find(|full| u32::from(**full) >= valence);
    full.map_or(0, |full| full - valence as u8)
}

fn conjugate(atoms: usize, bonds: &mut [Bond]) {
    let mut multiple = vec![false; atoms];
    let ends = |bond: &Bond| [usize::from(bond.from), usize::from(bond.to)];
    for bond in bonds.iter().filter(|b| b.order != Order::Single) {
        for end in ends(bond) {
            multiple[end] = true;
        }
    }
    let mut beside = vec![false; atoms];
    for bond in bonds.iter_mut().filter(|b| b.order == Order::Single) {
        bond.conjugated = ends(bond).iter().all(|end| multiple[*end]);
        for end in ends(bond) {
            beside[end] |= bond.conjugated;
        }
    }
    for bond in bonds.iter_mut().filter(|b| b.order != Order::Single) {
        bond.conjugated |= ends(bond).iter().any(|end| beside[*end]);
    }
}

/// Neighbours of each atom: those of atom `i` are `ends[first[i]..first[i + 1]]`, each with the
/// bond that leads to it.
struct Links {
    first: Vec<usize>,
    ends: Vec<(usize, usize)>,
}

impl Links {
    fn new(atoms: usize, bonds: &[ReadBond]) -> Self {
        let mut first = vec![0usize; atoms + 1];
        for bond in bonds {
            first[usize::from(bond.from) + 1] += 1;
            first[usize::from(bond.to) + 1] += 1;
        }
        for atom in 0..atoms {
            first[atom + 1] += first[atom];
        }
        let mut next = first.clone();
        let mut ends = vec![(0, 0); 2 * bonds.len()];
        for (number, bond) in bonds.iter().enumerate() {
            let (a, b) = (usize::from(bond.from), usize::from(bond.to));
            for (here, there) in [(a, b), (b, a)] {
                ends[next[here]] = (there, number);
                next[here] += 1;
            }
        }
        Self { first, ends }
    }

    /// Whether each bond is in a ring: those that are not bridges of the graph (Tarjan 1974). Walks
    /// with a stack of its own, since a chain may be long.
    fn ring_bonds(&self, bonds: usize) -> Vec<bool> {
        const UNSEEN: usize = usize::MAX;
        let atoms = self.first.len() - 1;
        let mut in_ring = vec![true; bonds];
        let mut seen = vec![UNSEEN; atoms];
        let mut lowest = vec![UNSEEN; atoms];
        let mut next = self.first.clone();
        let mut time = 0;
        // Atoms on the way, each with the bond that led to it.
        let mut way: Vec<(usize, usize)> = Vec::new();
        for start in 0..atoms {
            if seen[start] != UNSEEN {
                continue;
            }
            way.push((start, UNSEEN));
            while let Some(&(atom, by)) = way.last() {
                if seen[atom] == UNSEEN {
                    (seen[atom], lowest[atom]) = (time, time);
                    time += 1;
                }
                if next[atom] < self.first[atom + 1] {
                    let (other, bond) = self.ends[next[atom]];
                    next[atom] += 1;
                    if bond == by {
                        continue;
                    }
                    if seen[other] == UNSEEN {
                        way.push((other, bond));
                    } else {
                        lowest[atom] = lowest[atom].min(seen[other]);
                    }
                    continue;
                }
                way.pop();
                if let Some(&(before, _)) = way.last() {
                    lowest[before] = lowest[before].min(lowest[atom]);
                    if lowest[atom] > seen[before] {
                        in_ring[by] = false;
                    }
                }
            }
        }
        in_ring
    }
}

/// Symbols by atomic number, from 1.
#[rustfmt::skip]
pub(super) const ELEMENTS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl",
    "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In",
    "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb",
    "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl",
    "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk",
    "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh",
    "Fl", "Mc", "Lv", "Ts", "Og",
];
