//! Multiples of two points, added up: `[s]P + [k]Q` with few additions, for points whose tables are at hand.
//!
//! Bit by bit, an odd number is a sum of powers of two that are each added or taken away; an even one is that of the next
//! odd one, less one. These signs are dealt to thirteen columns in turn, so that a column holds twenty, each of a place
//! 2^13 times that of the one before. What several signs of a column may add up to stands in a table. So a column costs
//! one addition for each table of either point, and from one column to the next the sum is doubled once (Lim and
//! Lee's comb with signs; Handbook of Applied Cryptography, 14.6.3; Hamburg, "Fast and compact elliptic-curve
//! cryptography", 2012, section 3.3).
//!
//! Which points are looked up shows in the time it takes: it is for numbers that everybody may know, as those in a
//! verification are.

use curve25519_dalek::scalar::Scalar;

use crate::smsg::curve::{Affine, Extended, affine};

/// Columns of a number.
const COLUMNS: usize = 13;
/// Signs of a column.
const TEETH: usize = 20;
/// Of a number. A scalar is below the group's order, which is below 2^253.
const SIGNS: usize = COLUMNS * TEETH;

/// How many signs share a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape(usize);

impl Shape {
    /// Four tables of 16: 6 KB.
    pub(super) const SMALL: Self = Self(5);
    /// Two of 512: 98 KB.
    pub(super) const LARGE: Self = Self(10);

    /// Points of a table: all signs but the highest; where that is minus the point is taken away.
    const fn points(self) -> usize {
        1 << (self.0 - 1)
    }
}

/// The tables of one point.
pub(super) struct Multiples {
    shape: Shape,
    once: Affine,
    /// Table by table, from the lowest signs to the highest.
    points: Box<[Affine]>,
}

impl Multiples {
    pub(super) fn new(point: Extended, shape: Shape) -> Self {
        let Shape(width) = shape;
        let mut points = vec![point];
        let mut lowest = point;
        for _ in 0..TEETH / width {
            // Of each sign of the table: the point times its place.
            let mut places = Vec::with_capacity(width);
            for _ in 0..width {
                places.push(lowest);
                lowest = (0..COLUMNS).fold(lowest, |place, _| place.doubled());
            }
            let (highest, rest) = places.split_last().expect("a table has signs");
            let first = points.len();
            // All signs but the highest minus; then half of them with the lowest plus, and so on.
            points.push(rest.iter().fold(*highest, |sum, place| sum.plus(&place.negated())));
            for place in rest {
                let twice = place.doubled();
                for known in first..points.len() {
                    points.push(points[known].plus(&twice));
                }
            }
        }
        let points = affine(&points);
        Self { shape, once: points[0], points: points[1..].into() }
    }

    /// Adds what the signs of one column say.
    fn add_column(&self, mut sum: Extended, signs: u32) -> Extended {
        let Shape(width) = self.shape;
        for (place, table) in self.points.chunks_exact(self.shape.points()).enumerate() {
            let signs = signs as usize >> (place * width);
            let highest = signs & self.shape.points() != 0;
            // Where the highest is minus all are turned round, and the sum with them.
            let others = (if highest { signs } else { !signs }) & (self.shape.points() - 1);
            sum = if highest { sum.add(&table[others]) } else { sum.sub(&table[others]) };
        }
        sum
    }
}

/// `[number]` of each point, added up; also of points with a part of small order: the scalar counts as the whole number it
/// is.
pub(super) fn sum_of<const POINTS: usize>(terms: [(&Multiples, &Scalar); POINTS]) -> Extended {
    let columns = terms.map(|(_, number)| columns(number));
    let mut sum = Extended::IDENTITY;
    for column in (0..COLUMNS).rev() {
        if column + 1 < COLUMNS {
            sum = sum.doubled();
        }
        for ((multiples, _), columns) in terms.iter().zip(&columns) {
            sum = multiples.add_column(sum, columns[column]);
        }
    }
    for (multiples, number) in terms {
        if number.as_bytes()[0].is_multiple_of(2) {
            sum = sum.sub(&multiples.once);
        }
    }
    sum
}

/// The signs of the number, or of the next if it is even, the lowest of a column in its lowest bit: a set bit is plus.
fn columns(number: &Scalar) -> [u32; COLUMNS] {
    let mut columns = [0; COLUMNS];
    let bytes = number.as_bytes();
    // Half of what the number and all of them minus are apart: the number without its lowest bit, and the highest plus.
    for bit in 1..256 {
        let sign = u32::from(bytes[bit / 8] >> (bit % 8) & 1);
        columns[(bit - 1) % COLUMNS] |= sign << ((bit - 1) / COLUMNS);
    }
    columns[(SIGNS - 1) % COLUMNS] |= 1 << ((SIGNS - 1) / COLUMNS);
    columns
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::EdwardsPoint;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use proptest::prelude::*;

    use super::*;

    const SHAPES: [Shape; 2] = [Shape::SMALL, Shape::LARGE];

    fn multiples(point: &EdwardsPoint, shape: Shape) -> Multiples {
        Multiples::new(Extended::read(point.compress().as_bytes()).expect("a point"), shape)
    }

    /// What the library says.
    fn check(multiples: &Multiples, point: &EdwardsPoint, scalar: &Scalar) {
        let expected = (point * scalar).compress().to_bytes();
        assert_eq!(sum_of([(multiples, scalar)]).compress(), expected, "{scalar:?}");
    }

    /// The border of each sign, with and without those below it.
    #[test]
    fn numbers_at_the_border_of_each_sign_are_multiplied_as_the_library_does() {
        let points = EIGHT_TORSION.map(|torsion| ED25519_BASEPOINT_POINT + torsion);
        let tables: Vec<_> =
            points.iter().flat_map(|point| SHAPES.map(|shape| (point, multiples(point, shape)))).collect();
        let mut power = Scalar::ONE;
        for bit in 0..253 {
            let below = power - Scalar::ONE;
            for scalar in [power, below, power + below, -power, -below, Scalar::ZERO, -Scalar::ONE] {
                // The points take turns.
                for (point, multiples) in tables.iter().skip(bit % 4).step_by(4) {
                    check(multiples, point, &scalar);
                }
            }
            power += power;
        }
    }

    #[test]
    fn the_multiples_of_points_of_small_order_are_right() {
        for (point, shape) in EIGHT_TORSION.iter().flat_map(|point| SHAPES.map(|shape| (point, shape))) {
            for scalar in [Scalar::ZERO, Scalar::ONE, Scalar::from(7_u8), -Scalar::ONE] {
                check(&multiples(point, shape), point, &scalar);
            }
        }
    }

    #[test]
    fn the_signs_add_up_to_the_number_or_the_next() {
        for scalar in [Scalar::ZERO, -Scalar::ONE, Scalar::from(u64::MAX), Scalar::from_bytes_mod_order([0x24; 32])] {
            let columns = columns(&scalar);
            let sum = (0..SIGNS).rev().fold(Scalar::ZERO, |sum, place| {
                let plus = columns[place % COLUMNS] >> (place / COLUMNS) & 1 == 1;
                sum + sum + if plus { Scalar::ONE } else { -Scalar::ONE }
            });
            let even = scalar.as_bytes()[0] % 2 == 0;
            assert_eq!(sum, if even { scalar + Scalar::ONE } else { scalar });
            assert!(columns.iter().all(|signs| *signs < 1 << TEETH));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_sum_is_what_the_library_says(
            of in any::<[[u8; 32]; 2]>(),
            scalars in any::<[[u8; 32]; 2]>(),
            torsion in prop::sample::select(EIGHT_TORSION.to_vec()),
        ) {
            let points = of.map(|of| EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(of)) + torsion);
            let [s, k] = scalars.map(Scalar::from_bytes_mod_order);
            let [p, q] = [multiples(&points[0], Shape::SMALL), multiples(&points[1], Shape::LARGE)];
            let expected = (points[0] * s + points[1] * k).compress().to_bytes();
            prop_assert_eq!(sum_of([(&p, &s), (&q, &k)]).compress(), expected);
            check(&p, &points[0], &k);
            check(&q, &points[1], &s);
        }
    }
}
