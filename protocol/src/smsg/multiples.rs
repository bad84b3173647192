//! Multiples of one point, for multiplying it by whole numbers with few doublings.
//!
//! The number is written in digits of three, six or nine bits, from −4 to 4, −32 to 32 or −256 to 256. The digits are dealt
//! to rows, as many in turn to each as there are columns, and for each row there are the multiples of the point times the
//! row's lowest place, 1 to 4, 32 or 256. So a digit costs one addition. The columns are added up from the highest to the
//! lowest, and between two of them the sum is doubled, as often as a digit has bits (Lim and Lee's comb; Handbook of
//! Applied Cryptography, 14.6.3).
//!
//! It takes as long as the number has digits: it is for numbers that everybody may know, as those in a verification are.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;

/// The library doubles three times at once (`mul_by_cofactor`), and offers no other doubling.
const AT_ONCE: usize = 3;

/// A scalar is below the group's order, which is below 2^253; one bit more for what the last digit but one hands on.
const SCALAR_BITS: usize = 254;

/// Digits of the shortest width.
const MAX_DIGITS: usize = SCALAR_BITS.div_ceil(AT_ONCE);

/// How many multiples are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    rows: usize,
    /// Bits of a digit.
    width: usize,
}

impl Shape {
    /// 5 KB.
    pub(super) const SMALL: Self = Self { rows: 8, width: AT_ONCE };
    /// 110 KB.
    pub(super) const LARGE: Self = Self { rows: 22, width: 2 * AT_ONCE };
    /// 1.2 MB: a row for each digit, so nothing is doubled.
    pub(super) const LARGEST: Self = Self { rows: 29, width: 3 * AT_ONCE };

    const fn columns(self) -> usize {
        SCALAR_BITS.div_ceil(self.width).div_ceil(self.rows)
    }

    /// Multiples of a row.
    const fn highest(self) -> usize {
        1 << (self.width - 1)
    }

    /// The digits of a scalar, the lowest first; zeros above them.
    fn digits(self, scalar: &Scalar) -> [i16; MAX_DIGITS] {
        let mut bytes = [0; 33];
        bytes[..32].copy_from_slice(scalar.as_bytes());
        let mut digits = [0; MAX_DIGITS];
        let mut carry = 0;
        for (place, digit) in digits.iter_mut().enumerate().take(SCALAR_BITS.div_ceil(self.width)) {
            let (byte, bit) = (place * self.width / 8, place * self.width % 8);
            let pair = u16::from_le_bytes([bytes[byte], bytes[byte + 1]]) >> bit;
            // Nine bits and seven before them are in two bytes.
            *digit = (pair & ((1 << self.width) - 1)).cast_signed() + carry;
            carry = i16::from(*digit > 1 << (self.width - 1));
            *digit -= carry << self.width;
        }
        debug_assert_eq!(carry, 0, "the last digit has room");
        digits
    }
}

/// The multiples of one point.
pub(super) struct Multiples {
    shape: Shape,
    /// Row by row.
    points: Box<[EdwardsPoint]>,
}

impl Multiples {
    pub(super) fn new(point: &EdwardsPoint, shape: Shape) -> Self {
        let mut points = Vec::with_capacity(shape.rows * shape.highest());
        let mut lowest = *point;
        for _ in 0..shape.rows {
            let mut multiple = lowest;
            for _ in 1..shape.highest() {
                points.push(multiple);
                multiple += &lowest;
            }
            points.push(multiple);
            lowest = doubled(lowest, shape.columns() * shape.width);
        }
        Self { shape, points: points.into() }
    }

    /// `[scalar]` of the point, also of one with a part of small order: the scalar counts as the whole number it is.
    pub(super) fn times(&self, scalar: &Scalar) -> EdwardsPoint {
        let digits = self.shape.digits(scalar);
        let columns = self.shape.columns();
        let mut sum = EdwardsPoint::identity();
        for column in (0..columns).rev() {
            if column + 1 < columns {
                sum = doubled(sum, self.shape.width);
            }
            let rows = self.points.chunks_exact(self.shape.highest());
            for (digit, row) in digits.iter().skip(column).step_by(columns).zip(rows) {
                let multiple = usize::from(digit.unsigned_abs()).checked_sub(1).map(|place| &row[place]);
                match multiple {
                    Some(multiple) if *digit > 0 => sum += multiple,
                    Some(multiple) => sum -= multiple,
                    None => {}
                }
            }
        }
        sum
    }
}

/// Doubled so many times, which are a multiple of three.
fn doubled(point: EdwardsPoint, times: usize) -> EdwardsPoint {
    (0..times / AT_ONCE).fold(point, |point, _| point.mul_by_cofactor())
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use proptest::prelude::*;

    use super::*;

    const SHAPES: [Shape; 3] = [Shape::SMALL, Shape::LARGE, Shape::LARGEST];

    /// What the library says.
    fn check(point: &EdwardsPoint, scalar: &Scalar) {
        for shape in SHAPES {
            assert_eq!(Multiples::new(point, shape).times(scalar), point * scalar, "{shape:?} {scalar:?}");
        }
    }

    /// The border of each digit, with and without what the ones below hand on.
    #[test]
    fn numbers_at_the_border_of_each_digit_are_multiplied_as_the_library_does() {
        let points = EIGHT_TORSION.map(|torsion| ED25519_BASEPOINT_POINT + torsion);
        let tables: Vec<_> =
            points.iter().flat_map(|point| SHAPES.map(|shape| (point, Multiples::new(point, shape)))).collect();
        let mut power = Scalar::ONE;
        for bit in 0..253 {
            let below = power - Scalar::ONE;
            for scalar in [power, below, power + below, -power, -below, Scalar::ZERO, -Scalar::ONE] {
                // The points take turns.
                for (point, multiples) in tables.iter().skip(bit % 4).step_by(4) {
                    assert_eq!(multiples.times(&scalar), *point * scalar, "2^{bit}");
                }
            }
            power += power;
        }
    }

    #[test]
    fn the_multiples_of_points_of_small_order_are_right() {
        for point in EIGHT_TORSION {
            for scalar in [Scalar::ZERO, Scalar::ONE, Scalar::from(7_u8), -Scalar::ONE] {
                check(&point, &scalar);
            }
        }
    }

    #[test]
    fn digits_add_up_to_the_number_and_stay_in_their_bounds() {
        for shape in SHAPES {
            for scalar in [Scalar::ZERO, -Scalar::ONE, Scalar::from(u64::MAX), Scalar::from_bytes_mod_order([0x24; 32])]
            {
                let base = Scalar::from(1_u64 << shape.width);
                let digits = shape.digits(&scalar);
                let sum = digits.iter().rev().fold(Scalar::ZERO, |sum, digit| {
                    let size = Scalar::from(u64::from(digit.unsigned_abs()));
                    sum * base + if *digit < 0 { -size } else { size }
                });
                assert_eq!(sum, scalar);
                assert!(digits.iter().all(|digit| usize::from(digit.unsigned_abs()) <= shape.highest()));
                assert!(shape.rows * shape.columns() * shape.width >= SCALAR_BITS, "every digit has its row");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_number_is_multiplied_as_the_library_does(
            of in any::<[u8; 32]>(),
            scalar in any::<[u8; 32]>(),
            torsion in prop::sample::select(EIGHT_TORSION.to_vec()),
        ) {
            let point = EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(of)) + torsion;
            check(&point, &Scalar::from_bytes_mod_order(scalar));
        }
    }
}
