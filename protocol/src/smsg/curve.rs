//! The points of edwards25519, for verification alone: nothing here takes care to hide the numbers it works with.
//!
//! curve25519-dalek has all of this inside, and keeps to itself what makes adding a point out of a table cheap. So the
//! formulas are written here once more, on the field arithmetic of fiat-crypto, which is proven right. That they are right
//! too is seen beside the library, in the tests here, of `multiples` and of `author`.
//!
//! Formulas: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited", 2008; they hold for all points of this curve.

use fiat_crypto::curve25519_64 as fiat;

/// d of the curve: RFC 8032, section 5.1.
const D: Element = Element::of([
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00, 0x98, 0xe8, 0x79,
    0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52,
]);
/// A square root of −1.
const SQRT_MINUS_1: Element = Element::of([
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f, 0xa7, 0xd7, 0xfb,
    0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
]);
const HALF: Element = Element::of({
    let mut bytes = [0xff; 32];
    bytes[0] = 0xf7;
    bytes[31] = 0x3f;
    bytes
});
const ONE: Element = Element::of({
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
});
const ZERO: Element = Element::of([0; 32]);

/// A number modulo 2^255 − 19, in limbs that the library keeps tight.
#[derive(Clone, Copy)]
struct Element(fiat::fiat_25519_tight_field_element);

/// The same with limbs that may be a little larger: what may be multiplied, but not added up any further.
#[derive(Clone, Copy)]
struct Loose(fiat::fiat_25519_loose_field_element);

fn tight(compute: impl FnOnce(&mut fiat::fiat_25519_tight_field_element)) -> Element {
    let mut out = fiat::fiat_25519_tight_field_element([0; 5]);
    compute(&mut out);
    Element(out)
}

fn loose(compute: impl FnOnce(&mut fiat::fiat_25519_loose_field_element)) -> Loose {
    let mut out = fiat::fiat_25519_loose_field_element([0; 5]);
    compute(&mut out);
    Loose(out)
}

impl From<Element> for Loose {
    fn from(element: Element) -> Self {
        // Whatever is tight is loose.
        Self(fiat::fiat_25519_loose_field_element(element.0.0))
    }
}

impl Element {
    /// The highest bit is no part of it.
    const fn of(mut bytes: [u8; 32]) -> Self {
        bytes[31] &= 0x7f;
        let mut out = fiat::fiat_25519_tight_field_element([0; 5]);
        fiat::fiat_25519_from_bytes(&mut out, &bytes);
        Self(out)
    }

    fn bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        fiat::fiat_25519_to_bytes(&mut out, &self.0);
        out
    }

    fn add(&self, other: &Self) -> Loose {
        loose(|out| fiat::fiat_25519_add(out, &self.0, &other.0))
    }

    fn sub(&self, other: &Self) -> Loose {
        loose(|out| fiat::fiat_25519_sub(out, &self.0, &other.0))
    }

    fn negated(&self) -> Self {
        ZERO.sub(self).tight()
    }

    fn mul(&self, other: &Self) -> Self {
        Loose::from(*self).mul(&(*other).into())
    }

    fn squared(&self) -> Self {
        Loose::from(*self).squared()
    }

    fn squared_times(&self, times: usize) -> Self {
        (0..times).fold(*self, |power, _| power.squared())
    }

    /// To the powers of 2^250 − 1 and 11.
    fn powers(&self) -> (Self, Self) {
        let two = self.squared();
        let nine = two.squared_times(2).mul(self);
        let eleven = nine.mul(&two);
        let of_5 = eleven.squared().mul(&nine); // 2^5 − 1, and so on
        let of_10 = of_5.squared_times(5).mul(&of_5);
        let of_20 = of_10.squared_times(10).mul(&of_10);
        let of_40 = of_20.squared_times(20).mul(&of_20);
        let of_50 = of_40.squared_times(10).mul(&of_10);
        let of_100 = of_50.squared_times(50).mul(&of_50);
        let of_200 = of_100.squared_times(100).mul(&of_100);
        (of_200.squared_times(50).mul(&of_50), eleven)
    }

    /// One by it, which is its power of 2^255 − 21; of zero, zero.
    fn inverted(&self) -> Self {
        let (of_250, eleven) = self.powers();
        of_250.squared_times(5).mul(&eleven)
    }

    fn is_odd(&self) -> bool {
        self.bytes()[0] & 1 == 1
    }

    fn equals(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Loose {
    fn tight(&self) -> Element {
        tight(|out| fiat::fiat_25519_carry(out, &self.0))
    }

    fn mul(&self, other: &Self) -> Element {
        tight(|out| fiat::fiat_25519_carry_mul(out, &self.0, &other.0))
    }

    fn squared(&self) -> Element {
        tight(|out| fiat::fiat_25519_carry_square(out, &self.0))
    }
}

/// A point as x = X/Z, y = Y/Z, with T = XY/Z.
#[derive(Clone, Copy)]
pub(super) struct Extended {
    x: Element,
    y: Element,
    z: Element,
    t: Element,
}

/// A point of a table: `(y + x) / 2`, `(y − x) / 2` and `d x y`. The halves save the doubling of what it is added to.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    sum: Element,
    difference: Element,
    product: Element,
}

impl Extended {
    pub(super) const IDENTITY: Self = Self { x: ZERO, y: ONE, z: ONE, t: ZERO };

    /// RFC 8032, section 5.1.3. None for what is no point; the highest bit of −0 is let pass.
    pub(super) fn read(bytes: &[u8; 32]) -> Option<Self> {
        let y = Element::of(*bytes);
        let square = y.squared();
        let (u, v) = (square.sub(&ONE).tight(), square.mul(&D).add(&ONE).tight());
        // A candidate for the root of u/v: u v^3 (u v^7)^(2^252 − 3).
        let v3 = v.squared().mul(&v);
        let base = u.mul(&v3.squared()).mul(&v);
        let (of_250, _) = base.powers();
        let root = u.mul(&v3).mul(&of_250.squared_times(2).mul(&base));
        let check = v.mul(&root.squared());
        let root = if check.equals(&u) {
            root
        } else if check.equals(&u.negated()) {
            root.mul(&SQRT_MINUS_1)
        } else {
            return None;
        };
        let x = if root.is_odd() == (bytes[31] >> 7 == 1) { root } else { root.negated() };
        Some(Self { x, y, z: ONE, t: x.mul(&y) })
    }

    /// RFC 8032, section 5.1.2: canonical.
    pub(super) fn compress(&self) -> [u8; 32] {
        let inverse = self.z.inverted();
        let mut bytes = self.y.mul(&inverse).bytes();
        bytes[31] |= u8::from(self.x.mul(&inverse).is_odd()) << 7;
        bytes
    }

    pub(super) fn negated(&self) -> Self {
        Self { x: self.x.negated(), y: self.y, z: self.z, t: self.t.negated() }
    }

    /// X = E F, Y = G H, Z = F G, T = E H.
    fn of(e: Loose, f: Loose, g: Loose, h: Loose) -> Self {
        Self { x: e.mul(&f), y: g.mul(&h), z: f.mul(&g), t: e.mul(&h) }
    }

    /// The paper's section 3.3, with the sign of all four turned round.
    pub(super) fn doubled(&self) -> Self {
        let (a, b, c) = (self.x.squared(), self.y.squared(), self.z.squared());
        let (h, g) = (a.add(&b).tight(), b.sub(&a).tight());
        let e = self.x.add(&self.y).squared().sub(&h);
        let f = c.add(&c).tight().sub(&g);
        Self::of(e, f, g.into(), h.into())
    }

    /// The paper's section 3.1.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let a = self.y.sub(&self.x).mul(&other.y.sub(&other.x));
        let b = self.y.add(&self.x).mul(&other.y.add(&other.x));
        let c = self.t.mul(&D).mul(&other.t);
        let d = self.z.mul(&other.z);
        let (c, d) = (c.add(&c).tight(), d.add(&d).tight());
        Self::of(b.sub(&a), d.sub(&c), d.add(&c), b.add(&a))
    }

    /// The same, with all four halved.
    pub(super) fn add(&self, other: &Affine) -> Self {
        let a = self.y.sub(&self.x).mul(&other.difference.into());
        let b = self.y.add(&self.x).mul(&other.sum.into());
        let c = self.t.mul(&other.product);
        Self::of(b.sub(&a), self.z.sub(&c), self.z.add(&c), b.add(&a))
    }

    /// The other point's negative has its sum and difference changed for each other.
    pub(super) fn sub(&self, other: &Affine) -> Self {
        let a = self.y.sub(&self.x).mul(&other.sum.into());
        let b = self.y.add(&self.x).mul(&other.difference.into());
        let c = self.t.mul(&other.product);
        Self::of(b.sub(&a), self.z.add(&c), self.z.sub(&c), b.add(&a))
    }
}

/// The points for a table, with one inversion for all (Montgomery's).
pub(super) fn affine(points: &[Extended]) -> Vec<Affine> {
    // Of each the product of the Z before it; Z is never zero.
    let mut all = ONE;
    let before: Vec<Element> = points
        .iter()
        .map(|point| {
            let before = all;
            all = all.mul(&point.z);
            before
        })
        .collect();
    let mut inverse = all.inverted();
    let mut affine: Vec<Affine> = points
        .iter()
        .zip(before)
        .rev()
        .map(|(point, before)| {
            let of_z = inverse.mul(&before);
            inverse = inverse.mul(&point.z);
            let (x, y) = (point.x.mul(&of_z), point.y.mul(&of_z));
            let half = HALF.into();
            Affine { sum: y.add(&x).mul(&half), difference: y.sub(&x).mul(&half), product: x.mul(&y).mul(&D) }
        })
        .collect();
    affine.reverse();
    affine
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::CompressedEdwardsY;
    use curve25519_dalek::{EdwardsPoint, Scalar};
    use proptest::prelude::*;

    use super::*;

    fn of(point: &EdwardsPoint) -> Extended {
        Extended::read(point.compress().as_bytes()).expect("a point")
    }

    #[test]
    fn points_of_small_order_add_up_as_the_librarys_do() {
        for (a, b) in EIGHT_TORSION.iter().flat_map(|a| EIGHT_TORSION.iter().map(move |b| (a, b))) {
            let b_of_table = affine(&[of(b)])[0];
            assert_eq!(of(a).plus(&of(b)).compress(), (a + b).compress().to_bytes());
            assert_eq!(of(a).add(&b_of_table).compress(), (a + b).compress().to_bytes());
            assert_eq!(of(a).sub(&b_of_table).compress(), (a - b).compress().to_bytes());
            assert_eq!(of(a).doubled().compress(), (a + a).compress().to_bytes());
        }
    }

    /// Of all that is spelt oddly: y from p up, x = 0 with the sign of −0. A key that only the library took would panic.
    #[test]
    fn whatever_the_library_reads_is_read_however_it_is_spelt() {
        let beyond = (0..19_u8).map(|above| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed + above, 0x7f);
            bytes
        });
        let small = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes());
        let mut points = 0;
        for (mut bytes, sign) in beyond.chain(small).flat_map(|bytes| [(bytes, 0), (bytes, 0x80)]) {
            bytes[31] ^= sign;
            if let Some(point) = CompressedEdwardsY(bytes).decompress() {
                points += 1;
                let read = Extended::read(&bytes).map(|point| point.compress());
                assert_eq!(read, Some(point.compress().to_bytes()), "{bytes:02x?}");
            }
        }
        assert!(points > 20, "{points}");
    }

    proptest! {
        #[test]
        fn points_add_up_as_the_librarys_do(
            numbers in any::<[[u8; 32]; 3]>(),
            torsion in prop::sample::select(EIGHT_TORSION.to_vec()),
        ) {
            let points = numbers.map(|number| EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(number)) + torsion);
            // With a Z that is not one.
            let [a, b, c] = points.map(|point| of(&point).plus(&of(&point)));
            let twice = points.map(|point| point + point);
            let table = affine(&[b, a, c]);
            for (other, (affine, expected)) in [b, a, c].iter().zip(table.iter().zip([twice[1], twice[0], twice[2]])) {
                prop_assert_eq!(a.plus(other).compress(), (twice[0] + expected).compress().to_bytes());
                prop_assert_eq!(a.add(affine).compress(), (twice[0] + expected).compress().to_bytes());
                prop_assert_eq!(a.sub(affine).compress(), (twice[0] - expected).compress().to_bytes());
            }
            prop_assert_eq!(a.doubled().compress(), (twice[0] + twice[0]).compress().to_bytes());
            prop_assert_eq!(a.negated().compress(), (-twice[0]).compress().to_bytes());
        }

        #[test]
        fn what_the_library_reads_as_a_point_is_one_and_nothing_else(bytes in any::<[u8; 32]>()) {
            let expected = CompressedEdwardsY(bytes).decompress().map(|point| point.compress().to_bytes());
            prop_assert_eq!(Extended::read(&bytes).map(|point| point.compress()), expected);
        }
    }
}
