//! What a model reads of the atoms and bonds of a molecule that came as SMILES.

use super::graphs::{Coding, Graphs};
use super::molecule::{Atom, Bond, Molecule, Order};

/// Of an atom: element (C, N, O, S, F, Cl, Br, P, I, B, Si, any other), bonds to other atoms (0 to
/// 4, more), charge (negative, none, positive), hydrogens (0 to 3, more), aromatic, in a ring.
pub const ATOM: Coding = Coding::Categories(&[12, 6, 3, 5, 2, 2]);

/// Of a bond: order (single, double, triple, aromatic, quadruple), in a ring, conjugated.
pub const BOND: Coding = Coding::Categories(&[5, 2, 2]);

/// Elements by atomic number, in the order of their category.
const ELEMENTS: [u8; 11] = [6, 7, 8, 16, 9, 17, 35, 15, 53, 5, 14];

fn of_atom(atom: &Atom) -> [u8; 6] {
    let element = ELEMENTS.iter().position(|e| *e == atom.element);
    [
        element.unwrap_or(ELEMENTS.len()) as u8,
        atom.degree.min(5) as u8,
        (atom.charge.signum() + 1) as u8,
        atom.hydrogens.min(4),
        u8::from(atom.aromatic),
        u8::from(atom.in_ring),
    ]
}

fn of_bond(bond: &Bond) -> [u8; 3] {
    let order = match bond.order {
        Order::Single => 0,
        Order::Double => 1,
        Order::Triple => 2,
        Order::Aromatic => 3,
        Order::Quadruple => 4,
    };
    [order, u8::from(bond.in_ring), u8::from(bond.conjugated)]
}

/// Adds a molecule with its labels to graphs of the codings [`ATOM`] and [`BOND`].
pub fn push(graphs: &mut Graphs, molecule: &Molecule, labels: &[i8]) -> Result<(), String> {
    let atoms: Vec<u8> = molecule.atoms.iter().flat_map(of_atom).collect();
    let bonds: Vec<u8> = molecule.bonds.iter().flat_map(of_bond).collect();
    let links: Vec<[u16; 2]> = molecule.bonds.iter().map(|b| [b.from, b.to]).collect();
    graphs.push(&atoms, &bonds, &links, labels)
}

#[cfg(test)]
mod tests {
    use super::super::read_smiles;
    use super::*;

    #[test]
    fn features_of_a_small_molecule() {
        // Pyridine N-oxide with a nitrile: [O-][n+]1ccccc1C#N.
        let molecule = read_smiles("[O-][n+]1ccccc1C#N").unwrap();
        let atoms: Vec<_> = molecule.atoms.iter().map(of_atom).collect();
        assert_eq!(atoms[0], [2, 1, 0, 0, 0, 0]);
        assert_eq!(atoms[1], [1, 3, 2, 0, 1, 1]);
        assert_eq!(atoms[2], [0, 2, 1, 1, 1, 1]);
        assert_eq!(atoms[7], [0, 2, 1, 0, 0, 0]);
        let bonds: Vec<_> = molecule.bonds.iter().map(of_bond).collect();
        assert_eq!(bonds[0], [0, 0, 0]);
        assert_eq!(bonds[1], [3, 1, 1]);
        assert_eq!(bonds[8], [2, 0, 1]);
        assert_eq!((ATOM.width(), BOND.width()), (30, 9));
    }

    #[test]
    fn rare_elements_and_counts_have_a_place() {
        let molecule = read_smiles("[U]").unwrap();
        assert_eq!(of_atom(&molecule.atoms[0]), [11, 0, 1, 0, 0, 0]);
        let molecule = read_smiles("FS(F)(F)(F)(F)F").unwrap();
        assert_eq!(of_atom(&molecule.atoms[1]), [3, 5, 1, 0, 0, 0]);
    }
}
