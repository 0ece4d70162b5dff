//! The reader against RDKit's counts, and against texts that are no molecules.

use super::super::molecule::Chirality::{Anticlockwise, Clockwise, Other};
use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Text; atoms, bonds, hydrogens that are no atoms, charge, aromatic atoms, atoms and bonds in rings,
/// counted by RDKit 2026.09.1.
#[rustfmt::skip]
const COUNTED: &[(&str, [i32; 7])] = &[
    (r"C", [1, 0, 4, 0, 0, 0, 0]),
    (r"CCO", [3, 2, 6, 0, 0, 0, 0]),
    (r"c1ccccc1", [6, 6, 6, 0, 6, 6, 6]),
    (r"CC(=O)Oc1ccccc1C(=O)O", [13, 13, 8, 0, 6, 6, 6]),
    (r"Cn1cnc2c1c(=O)n(C)c(=O)n2C", [14, 15, 10, 0, 9, 9, 10]),
    (r"CN1C2CCC1C(C(=O)OC)C(OC(=O)c1ccccc1)C2", [22, 24, 21, 0, 6, 14, 15]),
    (r"C[C@H](N)C(=O)O", [6, 5, 7, 0, 0, 0, 0]),
    (r"N[C@@H](Cc1ccccc1)C(=O)O", [12, 12, 11, 0, 6, 6, 6]),
    (r"[Na+].[Cl-]", [2, 0, 0, 0, 0, 0, 0]),
    (r"O=[N+]([O-])c1ccccc1", [9, 9, 5, 0, 6, 6, 6]),
    (r"[nH]1cccc1", [5, 5, 5, 0, 5, 5, 5]),
    (r"c1ccc2[nH]ccc2c1", [9, 10, 7, 0, 9, 9, 10]),
    (r"F/C=C/F", [4, 3, 2, 0, 0, 0, 0]),
    (r"F/C=C\F", [4, 3, 2, 0, 0, 0, 0]),
    (r"C#N", [2, 1, 1, 0, 0, 0, 0]),
    (r"[2H]OC", [3, 2, 3, 0, 0, 0, 0]),
    (r"[13CH4]", [1, 0, 4, 0, 0, 0, 0]),
    (r"[NH4+]", [1, 0, 4, 1, 0, 0, 0]),
    (r"OS(=O)(=O)O", [5, 4, 2, 0, 0, 0, 0]),
    (r"CS(=O)(=O)N", [5, 4, 5, 0, 0, 0, 0]),
    (r"P(=O)(O)(O)O", [5, 4, 3, 0, 0, 0, 0]),
    (r"c1ccsc1", [5, 5, 4, 0, 5, 5, 5]),
    (r"C1CC2CCC1C2", [7, 8, 12, 0, 0, 7, 8]),
    (r"C12C3C4C1C5C2C3C45", [8, 12, 8, 0, 0, 8, 12]),
    (r"C%10CCCC%10", [5, 5, 10, 0, 0, 5, 5]),
    (r"[O-][n+]1ccccc1", [7, 7, 5, 0, 6, 6, 6]),
    (r"CCN(CC)CC.Cl", [8, 6, 16, 0, 0, 0, 0]),
    (r"BrCCI", [4, 3, 4, 0, 0, 0, 0]),
    (r"ClC(Cl)(Cl)Cl", [5, 4, 0, 0, 0, 0, 0]),
    (r"c1ccc(-c2ccccc2)cc1", [12, 13, 10, 0, 12, 12, 12]),
    (r"C1=CC=CC=CC=C1", [8, 8, 8, 0, 0, 8, 8]),
    (r"[Fe+2].[O-]S(=O)(=O)[O-]", [6, 4, 0, 0, 0, 0, 0]),
    (r"CC(C)Cc1ccc(C(C)C(=O)O)cc1", [15, 15, 18, 0, 6, 6, 6]),
    (r"O=C1c2ccccc2C(=O)c2ccccc21", [16, 18, 8, 0, 12, 14, 16]),
    (r"[se]1cccc1", [5, 5, 4, 0, 5, 5, 5]),
    (r"FS(F)(F)(F)(F)F", [7, 6, 0, 0, 0, 0, 0]),
    (r"N#[N+][N-]C", [4, 3, 3, 0, 0, 0, 0]),
    (r"CC1(C)SC2C(NC(=O)Cc3ccccc3)C(=O)N2C1C(=O)O", [23, 25, 18, 0, 6, 13, 14]),
    (r"C1CC1C1CC1", [6, 7, 10, 0, 0, 6, 6]),
    (r"[O-]Cl(=O)(=O)=O", [5, 4, 0, -1, 0, 0, 0]),
    (r"O=Cc1ccc(O)c(OC)c1", [11, 11, 8, 0, 6, 6, 6]),
    (r"CC12CCC3C(CCC4=CC(=O)CCC34C)C1CCC2O", [21, 24, 28, 0, 0, 17, 20]),
    (r"[H][H]", [2, 1, 0, 0, 0, 0, 0]),
    (r"b1ccccc1", [6, 6, 5, 0, 6, 6, 6]),
];

fn counts(molecule: &Molecule) -> [i32; 7] {
    let atoms = |of: &dyn Fn(&Atom) -> i32| molecule.atoms.iter().map(of).sum::<i32>();
    [
        molecule.atoms.len() as i32,
        molecule.bonds.len() as i32,
        atoms(&|a| i32::from(a.hydrogens)),
        atoms(&|a| i32::from(a.charge)),
        atoms(&|a| i32::from(a.aromatic)),
        atoms(&|a| i32::from(a.in_ring)),
        molecule.bonds.iter().filter(|b| b.in_ring).count() as i32,
    ]
}

#[test]
fn counts_are_those_of_rdkit() {
    for (text, expected) in COUNTED {
        let molecule = read_smiles(text).unwrap();
        assert_eq!(counts(&molecule), *expected, "{text}");
        // Each bond gives each of its atoms a degree.
        let degrees: usize = molecule.atoms.iter().map(|a| usize::from(a.degree)).sum();
        assert_eq!(degrees, 2 * molecule.bonds.len(), "{text}");
    }
}

#[test]
fn brackets_say_all_that_they_may() {
    let atom = |text: &str| read_smiles(text).unwrap().atoms[0];
    let expected = Atom {
        isotope: 13,
        charge: -1,
        hydrogens: 2,
        chirality: Clockwise,
        ..plain(6, false)
    };
    assert_eq!(atom("[13C@@H2-:42]"), expected);
    assert_eq!(atom("[Fe+++]").charge, 3);
    assert_eq!(atom("[S--]").charge, -2);
    assert_eq!(atom("[Pt+15]").charge, 15);
    assert_eq!(atom("[C@H](F)(Cl)Br").chirality, Anticlockwise);
    assert_eq!(atom("[Pt@SP2](F)(Cl)(Br)I").chirality, Other);
    assert_eq!(atom("[as]").element, 33);
    assert_eq!(atom("[Sc]").element, 21);
    assert_eq!(atom("[Og]").element, 118);
    assert_eq!(atom("*").element, 0);
    assert_eq!(atom("[CH]").hydrogens, 1);
}

#[test]
fn orders_of_bonds_follow_symbols_and_atoms() {
    let orders = |text: &str| {
        let bonds = read_smiles(text).unwrap().bonds;
        bonds.iter().map(|b| b.order).collect::<Vec<_>>()
    };
    use Order::{Aromatic, Double, Quadruple, Single, Triple};
    assert_eq!(orders("C-C=C#C$C"), [Single, Double, Triple, Quadruple]);
    assert_eq!(orders("C=1CC=1"), [Single, Single, Double]);
    assert_eq!(orders("C=1CC1"), [Single, Single, Double]);
    assert_eq!(orders("C/C=C\\C"), [Single, Double, Single]);
    // Between two rings an unwritten bond of aromatic atoms is single.
    let biphenyl = orders("c1ccccc1c1ccccc1");
    assert_eq!(biphenyl.iter().filter(|o| **o == Aromatic).count(), 12);
    assert_eq!(orders("c:c"), [Aromatic]);
}

#[test]
fn conjugated_bonds() {
    let conjugated = |text: &str| {
        let bonds = read_smiles(text).unwrap().bonds;
        bonds.iter().map(|b| b.conjugated).collect::<Vec<_>>()
    };
    assert_eq!(conjugated("C=CC=CC"), [true, true, true, false]);
    assert_eq!(conjugated("C=CCC=C"), [false; 4]);
    assert_eq!(conjugated("O=Cc1cccs1"), [true; 7]);
}

#[test]
fn a_branch_hangs_on_its_atom() {
    let bonds = read_smiles("C(=O)(N(C)F)C.S").unwrap().bonds;
    let ends: Vec<_> = bonds.iter().map(|b| (b.from, b.to)).collect();
    assert_eq!(ends, [(0, 1), (0, 2), (2, 3), (2, 4), (0, 5)]);
    assert!(read_smiles("C(.C)C").is_ok());
}

#[test]
fn faults_are_found_at_their_place() {
    for (text, position, word) in [
        ("", 1, "no atom"),
        ("C C", 2, "organic subset"),
        ("CX", 2, "organic subset"),
        ("Cé", 2, "organic subset"),
        ("C(C", 2, "not closed"),
        ("CC)C", 3, "not opened"),
        ("C()C", 3, "end with an atom"),
        ("C(C=)C", 5, "end with an atom"),
        ("(C)C", 1, "follow an atom"),
        ("C((C))C", 3, "follow an atom"),
        ("=C", 1, "follow an atom"),
        ("C==C", 3, "follow an atom"),
        ("C=", 2, "lead to an atom"),
        ("C=.C", 3, "dot must follow"),
        ("C..C", 3, "dot must follow"),
        ("C.", 3, "follow a dot"),
        (".C", 1, "dot must follow"),
        ("1CC1", 1, "ring bond must follow"),
        ("C(1)CC1", 3, "ring bond must follow"),
        ("CC1C2CC1", 5, "not closed"),
        ("C=1CC-1", 7, "differ in order"),
        ("C11", 3, "to itself"),
        ("C12CC12", 7, "already bonded"),
        ("C1C1", 4, "already bonded"),
        ("C%1CC%1", 2, "two digits"),
        ("C%", 2, "two digits"),
        ("[C", 1, "not closed"),
        ("[]", 2, "not an element"),
        ("[Xx]", 2, "not an element"),
        ("[C@TH3]", 3, "no arrangement"),
        ("[C+16]", 3, "15 at most"),
        ("[C:]", 4, "class"),
        ("[CH2C]", 5, "bracket atom"),
        ("C]", 2, "organic subset"),
    ] {
        let error = read_smiles(text).unwrap_err();
        assert_eq!(error.position, position, "{text}: {error}");
        assert!(error.problem.contains(word), "{text}: {error}");
    }
    assert!(read_smiles(&"C".repeat(10_000)).is_ok());
    let error = read_smiles(&"C".repeat(10_001)).unwrap_err();
    assert_eq!(error.position, 10_001);
}

/// Random texts, most of them out of the alphabet of SMILES, are read or refused.
#[test]
fn no_text_makes_it_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let alphabet = b"CNOcnos()[]=#-+1234%0@H.:/\\ClBr*$se";
    let mut read = 0;
    for round in 0..200_000 {
        let length = rng.random_range(0..24);
        let bytes: Vec<u8> = (0..length)
            .map(|_| match round % 4 {
                0 => rng.random::<u8>(),
                _ => alphabet[rng.random_range(0..alphabet.len())],
            })
            .collect();
        read += usize::from(read_smiles(&String::from_utf8_lossy(&bytes)).is_ok());
    }
    assert!(read > 1000, "{read} texts were molecules");
    // Long chains of everything that nests.
    for text in ["C(", "[", "C1", "C.", "((", "c1ccc2", "C%10", "@", "C=C("] {
        let _ = read_smiles(&text.repeat(20_000));
    }
    let nested = format!("{}C{}", "C(".repeat(4_000), ")".repeat(4_000));
    assert!(read_smiles(&nested).is_ok());
}

/// Cutting a text anywhere gives a molecule or a fault inside of the text.
#[test]
fn a_cut_text_is_read_or_refused() {
    let text = "CN1C2CCC1[C@@H](C(=O)OC)C(OC(=O)c1ccc([N+](=O)[O-])cc1)%11CC%11C2.[Na+]";
    for end in 0..text.len() {
        if let Err(error) = read_smiles(&text[..end]) {
            assert!((1..=end + 1).contains(&error.position), "{end}: {error}");
        }
    }
}
