//! Molecules as labelled graphs: from SMILES texts in tables, and in OGB's own files.

mod features;
mod graphs;
mod molecule;
mod ogb;
mod pcba;
mod smiles;
mod table;

pub use features::{ATOM, BOND, push as push_molecule};
pub use graphs::{Coding, GraphSplit, Graphs, MISSING};
pub use molecule::{Atom, Bond, Chirality, Molecule, Order};
pub use ogb::Molpcba;
pub(super) use pcba::FILE;
pub use pcba::{Pcba, PcbaFull};
pub use smiles::{SmilesError, read_smiles};
