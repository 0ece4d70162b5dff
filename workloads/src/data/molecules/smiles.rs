//! A strict reader of SMILES (the OpenSMILES specification 1.0, 2016): atoms of the organic subset,
//! bracket atoms with isotope, chirality, hydrogens, charge and class, bonds, branches, ring bonds
//! (`%nn` included) and dots. Reactions and the extensions of single programs are not read.

use super::molecule::{Atom, Chirality, ELEMENTS, Molecule, Order, ReadBond};
use std::fmt;

/// The most atoms of one text.
const MOST_ATOMS: usize = 10_000;

/// Why a text is no molecule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmilesError {
    /// Byte of the text, from 1.
    pub position: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl fmt::Display for SmilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}: {}", self.position, self.problem)
    }
}

impl std::error::Error for SmilesError {}

/// Reads one SMILES text. No text makes it panic.
pub fn read_smiles(text: &str) -> Result<Molecule, SmilesError> {
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        atoms: Vec::with_capacity(text.len()),
        bare: Vec::with_capacity(text.len()),
        bonds: Vec::with_capacity(text.len()),
        rings: [None; 100],
        branches: Vec::new(),
        current: None,
        pending: None,
        last: Last::Nothing,
    };
    while let Some(byte) = reader.peek() {
        reader.symbol(byte)?;
    }
    reader.end()
}

/// A bond symbol: an order, and whether it is one of the two direction marks.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    order: Order,
    at: usize,
}

/// An open ring bond.
#[derive(Debug, Clone, Copy)]
struct Open {
    atom: u16,
    order: Option<Order>,
    at: usize,
}

/// What was read last: decides what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing, or a dot: an atom must follow.
    Nothing,
    /// An atom with its ring bonds.
    Atom,
    /// A bond symbol straight behind an atom: an atom or a ring bond must follow.
    BondOfAtom,
    /// A bond symbol elsewhere: an atom must follow.
    Bond,
    BranchStart,
    BranchEnd,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    atoms: Vec<Atom>,
    /// Whether each atom stood outside of brackets.
    bare: Vec<bool>,
    bonds: Vec<ReadBond>,
    rings: [Option<Open>; 100],
    /// Atoms that open branches hang on, with the position of the parenthesis.
    branches: Vec<(Option<u16>, usize)>,
    /// The atom that the next one is bonded to.
    current: Option<u16>,
    pending: Option<Symbol>,
    last: Last,
}

type Read<T> = Result<T, SmilesError>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes the next byte if it is `byte`.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn fault<T>(&self, at: usize, problem: &'static str) -> Read<T> {
        let position = at + 1;
        Err(SmilesError { position, problem })
    }

    /// Takes between one and `most` digits; `None` where there is none.
    fn number(&mut self, most: usize) -> Option<u16> {
        let from = self.at;
        let mut value = 0;
        while let Some(byte) = self.peek().filter(u8::is_ascii_digit) {
            if self.at - from == most {
                break;
            }
            value = 10 * value + u16::from(byte - b'0');
            self.at += 1;
        }
        (self.at > from).then_some(value)
    }

    fn symbol(&mut self, byte: u8) -> Read<()> {
        let at = self.at;
        let behind_atom = matches!(self.last, Last::Atom | Last::BranchEnd);
        match byte {
            b'(' => {
                if !behind_atom {
                    return self.fault(at, "a branch must follow an atom");
                }
                self.at += 1;
                self.branches.push((self.current, at));
                self.last = Last::BranchStart;
            }
            b')' => {
                if !behind_atom {
                    return self.fault(at, "a branch must end with an atom");
                }
                let Some((atom, _)) = self.branches.pop() else {
                    return self.fault(at, "this parenthesis was not opened");
                };
                self.at += 1;
                self.current = atom;
                self.last = Last::BranchEnd;
            }
            b'.' => {
                if !behind_atom && self.last != Last::BranchStart {
                    return self.fault(at, "a dot must follow an atom");
                }
                self.at += 1;
                self.current = None;
                self.last = Last::Nothing;
            }
            b'-' | b'=' | b'#' | b'$' | b':' | b'/' | b'\\' => self.bond(byte)?,
            b'0'..=b'9' | b'%' => self.ring_bond()?,
            _ => self.atom(byte)?,
        }
        Ok(())
    }

    fn bond(&mut self, byte: u8) -> Read<()> {
        let at = self.at;
        self.last = match self.last {
            Last::Atom => Last::BondOfAtom,
            Last::BranchStart | Last::BranchEnd => Last::Bond,
            _ => return self.fault(at, "a bond must follow an atom"),
        };
        let order = match byte {
            b'=' => Order::Double,
            b'#' => Order::Triple,
            b'$' => Order::Quadruple,
            b':' => Order::Aromatic,
            _ => Order::Single,
        };
        self.pending = Some(Symbol { order, at });
        self.at += 1;
        Ok(())
    }

    fn ring_bond(&mut self) -> Read<()> {
        let at = self.at;
        let (Last::Atom | Last::BondOfAtom, Some(atom)) = (self.last, self.current) else {
            return self.fault(at, "a ring bond must follow an atom");
        };
        let number = if self.take(b'%') {
            let digits = self.at;
            match self.number(2) {
                Some(number) if self.at == digits + 2 => number,
                _ => return self.fault(at, "two digits must follow `%`"),
            }
        } else {
            self.number(1).unwrap_or_default()
        };
        let order = self.pending.take().map(|symbol| symbol.order);
        self.last = Last::Atom;
        let Some(slot) = self.rings.get_mut(usize::from(number)) else {
            return self.fault(at, "a ring bond has two digits at most");
        };
        let Some(open) = slot.take() else {
            *slot = Some(Open { atom, order, at });
            return Ok(());
        };
        let order = match (open.order, order) {
            (Some(a), Some(b)) if a != b => {
                return self.fault(at, "the two ends of this ring bond differ in order");
            }
            (a, b) => a.or(b),
        };
        if open.atom == atom {
            return self.fault(at, "a ring bond leads from an atom to itself");
        }
        let (from, to) = (open.atom, atom);
        let same = |b: &ReadBond| (b.from, b.to) == (from, to) || (b.from, b.to) == (to, from);
        if self.bonds.iter().any(same) {
            return self.fault(at, "these atoms are already bonded");
        }
        self.bonds.push(ReadBond { from, to, order });
        Ok(())
    }

    fn atom(&mut self, byte: u8) -> Read<()> {
        let at = self.at;
        let bare = byte != b'[';
        let atom = if bare {
            self.bare_atom(byte)?
        } else {
            self.bracket_atom()?
        };
        if self.atoms.len() >= MOST_ATOMS {
            return self.fault(at, "more than 10,000 atoms");
        }
        let number = self.atoms.len() as u16;
        let order = self.pending.take().map(|symbol| symbol.order);
        if let Some(from) = self.current {
            let to = number;
            self.bonds.push(ReadBond { from, to, order });
        }
        self.atoms.push(atom);
        self.bare.push(bare);
        self.current = Some(number);
        self.last = Last::Atom;
        Ok(())
    }

    fn bare_atom(&mut self, byte: u8) -> Read<Atom> {
        let at = self.at;
        self.at += 1;
        let (element, aromatic) = match byte {
            b'C' if self.take(b'l') => (17, false),
            b'B' if self.take(b'r') => (35, false),
            b'B' => (5, false),
            b'C' => (6, false),
            b'N' => (7, false),
            b'O' => (8, false),
            b'F' => (9, false),
            b'P' => (15, false),
            b'S' => (16, false),
            b'I' => (53, false),
            b'b' => (5, true),
            b'c' => (6, true),
            b'n' => (7, true),
            b'o' => (8, true),
            b'p' => (15, true),
            b's' => (16, true),
            b'*' => (0, false),
            _ => return self.fault(at, "this is not an atom of the organic subset"),
        };
        Ok(plain(element, aromatic))
    }

    fn bracket_atom(&mut self) -> Read<Atom> {
        let open = self.at;
        self.at += 1;
        let isotope = self.number(3).unwrap_or_default();
        let mut atom = self.element()?;
        atom.isotope = isotope;
        atom.chirality = self.chirality()?;
        if self.take(b'H') {
            atom.hydrogens = self.number(1).unwrap_or(1) as u8;
        }
        atom.charge = self.charge()?;
        if self.take(b':') && self.number(4).is_none() {
            return self.fault(self.at, "an atom class must have a number");
        }
        if self.take(b']') {
            return Ok(atom);
        }
        match self.peek() {
            Some(_) => self.fault(self.at, "this does not belong in a bracket atom"),
            None => self.fault(open, "this bracket is not closed"),
        }
    }

    fn element(&mut self) -> Read<Atom> {
        let at = self.at;
        if self.take(b'*') {
            return Ok(plain(0, false));
        }
        let rest = self.text.get(at..).unwrap_or_default();
        // The longer symbol wins: `Sc` is scandium.
        for length in [2, 1] {
            let Some(symbol) = rest.get(..length) else {
                continue;
            };
            let found = match symbol {
                b"se" => Some((34, true)),
                b"as" => Some((33, true)),
                b"b" => Some((5, true)),
                b"c" => Some((6, true)),
                b"n" => Some((7, true)),
                b"o" => Some((8, true)),
                b"p" => Some((15, true)),
                b"s" => Some((16, true)),
                _ => {
                    let place = ELEMENTS.iter().position(|e| e.as_bytes() == symbol);
                    place.map(|place| (place as u8 + 1, false))
                }
            };
            if let Some((element, aromatic)) = found {
                self.at += length;
                return Ok(plain(element, aromatic));
            }
        }
        self.fault(at, "this is not an element")
    }

    /// `@`, `@@`, or one of the named arrangements with its number.
    fn chirality(&mut self) -> Read<Chirality> {
        let at = self.at;
        if !self.take(b'@') {
            return Ok(Chirality::None);
        }
        if self.take(b'@') {
            return Ok(Chirality::Clockwise);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let most = match rest.get(..2) {
            Some(b"TH" | b"AL") => 2,
            Some(b"SP") => 3,
            Some(b"TB") => 20,
            Some(b"OH") => 30,
            _ => return Ok(Chirality::Anticlockwise),
        };
        self.at += 2;
        match self.number(2) {
            Some(number) if (1..=most).contains(&number) => Ok(Chirality::Other),
            _ => self.fault(at, "there is no arrangement of this number"),
        }
    }

    /// `+`, `-`, repeated, or with a number up to 15.
    fn charge(&mut self) -> Read<i8> {
        let at = self.at;
        let Some(sign) = self.peek().filter(|b| matches!(b, b'+' | b'-')) else {
            return Ok(0);
        };
        self.at += 1;
        let mut size = self.number(2).unwrap_or(0);
        if size == 0 {
            size = 1;
            while self.take(sign) {
                size += 1;
            }
        }
        match i8::try_from(size) {
            Ok(size) if size <= 15 => Ok(if sign == b'+' { size } else { -size }),
            _ => self.fault(at, "a charge is 15 at most"),
        }
    }

    fn end(self) -> Read<Molecule> {
        let at = self.text.len();
        if let Some(symbol) = self.pending {
            return self.fault(symbol.at, "a bond must lead to an atom");
        }
        match self.last {
            Last::Nothing if self.atoms.is_empty() => return self.fault(at, "there is no atom"),
            Last::Nothing => return self.fault(at, "an atom must follow a dot"),
            _ => {}
        }
        if let Some((_, at)) = self.branches.last() {
            return self.fault(*at, "this parenthesis is not closed");
        }
        if let Some(open) = self.rings.iter().flatten().min_by_key(|open| open.at) {
            return self.fault(open.at, "this ring bond is not closed");
        }
        Ok(Molecule::complete(self.atoms, &self.bare, &self.bonds))
    }
}

fn plain(element: u8, aromatic: bool) -> Atom {
    Atom {
        element,
        isotope: 0,
        charge: 0,
        hydrogens: 0,
        aromatic,
        chirality: Chirality::None,
        in_ring: false,
        degree: 0,
    }
}

#[cfg(test)]
#[path = "smiles_tests.rs"]
mod tests;
