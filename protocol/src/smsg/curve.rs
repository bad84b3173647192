//! The points of edwards25519, for verification alone: nothing here takes care to hide the numbers it works with.
//!
//! curve25519-dalek has all of this inside, and keeps to itself what makes adding a point out of a table cheap. So the
//! formulas are written here once more, on the field arithmetic of crrl. That all of it is right is seen beside the library,
//! in the tests here, of `multiples` and of `author`.
//!
//! Formulas: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited", 2008; they hold for all points of this curve.

use crrl::field::GF25519 as Element;

/// d of the curve: RFC 8032, section 5.1.
const D: Element =
    Element::w64le(0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73);

/// The highest bit is no part of the number, which may be p or above.
fn element(bytes: &[u8; 32]) -> Element {
    let mut bytes = *bytes;
    bytes[31] &= 0x7f;
    Element::decode_reduce(&bytes)
}

fn is_odd(element: Element) -> bool {
    element.encode32()[0] & 1 == 1
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
    pub(super) const IDENTITY: Self = Self { x: Element::ZERO, y: Element::ONE, z: Element::ONE, t: Element::ZERO };

    /// RFC 8032, section 5.1.3. None for what is no point; the highest bit of −0 is let pass.
    pub(super) fn read(bytes: &[u8; 32]) -> Option<Self> {
        let y = element(bytes);
        let square = y.square();
        // The divisor is never zero: −1/d is no square.
        let (root, is_root) = ((square - Element::ONE) / (D * square + Element::ONE)).sqrt();
        let x = if is_odd(root) == (bytes[31] >> 7 == 1) { root } else { -root };
        (is_root != 0).then(|| Self { x, y, z: Element::ONE, t: x * y })
    }

    /// RFC 8032, section 5.1.2: canonical.
    pub(super) fn compress(&self) -> [u8; 32] {
        let inverse = Element::ONE / self.z;
        let mut bytes = (self.y * inverse).encode32();
        bytes[31] |= u8::from(is_odd(self.x * inverse)) << 7;
        bytes
    }

    pub(super) fn negated(&self) -> Self {
        Self { x: -self.x, y: self.y, z: self.z, t: -self.t }
    }

    /// X = E F, Y = G H, Z = F G, T = E H.
    #[inline]
    fn of(e: Element, f: Element, g: Element, h: Element) -> Self {
        Self { x: e * f, y: g * h, z: f * g, t: e * h }
    }

    /// The paper's section 3.3, with the sign of all four turned round.
    pub(super) fn doubled(&self) -> Self {
        let (a, b, c) = (self.x.square(), self.y.square(), self.z.square());
        let (h, g) = (a + b, b - a);
        let e = (self.x + self.y).square() - h;
        Self::of(e, c.mul2() - g, g, h)
    }

    /// The paper's section 3.1.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let a = (self.y - self.x) * (other.y - other.x);
        let b = (self.y + self.x) * (other.y + other.x);
        let c = (self.t * D * other.t).mul2();
        let d = (self.z * other.z).mul2();
        Self::of(b - a, d - c, d + c, b + a)
    }

    /// The same, with all four halved.
    pub(super) fn add(&self, other: &Affine) -> Self {
        let a = (self.y - self.x) * other.difference;
        let b = (self.y + self.x) * other.sum;
        let c = self.t * other.product;
        Self::of(b - a, self.z - c, self.z + c, b + a)
    }

    /// The other point's negative has its sum and difference changed for each other.
    pub(super) fn sub(&self, other: &Affine) -> Self {
        let a = (self.y - self.x) * other.sum;
        let b = (self.y + self.x) * other.difference;
        let c = self.t * other.product;
        Self::of(b - a, self.z + c, self.z - c, b + a)
    }
}

/// The points for a table, with one inversion for all (Montgomery's).
pub(super) fn affine(points: &[Extended]) -> Vec<Affine> {
    // Of each the product of the Z before it; Z is never zero.
    let mut all = Element::ONE;
    let before: Vec<Element> = points
        .iter()
        .map(|point| {
            let before = all;
            all *= point.z;
            before
        })
        .collect();
    let mut inverse = Element::ONE / all;
    let mut affine: Vec<Affine> = points
        .iter()
        .zip(before)
        .rev()
        .map(|(point, before)| {
            let of_z = inverse * before;
            inverse *= point.z;
            let (x, y) = (point.x * of_z, point.y * of_z);
            Affine { sum: (y + x).half(), difference: (y - x).half(), product: x * y * D }
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
