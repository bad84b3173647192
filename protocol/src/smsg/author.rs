//! One author's key, which verifies faster the more often the author is heard.
//!
//! What a verification computes is `R' = [s]B − [k]A` of the author's key A, with `k = SHA-512( R | A | message )`. B is
//! everybody's, and a table of its multiples is made once. Of an author who is heard more than a few times a small table
//! keeps multiples of −A too, and of the few who are heard most a large one.
//!
//! A table must accept the same bits as `verify_strict`, or two nodes would disagree about a message. That asks for:
//!
//! ```text
//!   verify_strict                              with a table
//!   s is below the group's order               the same
//!   A is not of small order                    a `PeerKey` never is
//!   R is the encoding of a point, loosely      R is the encoding of R', so it is of a point, and canonical
//!   that point is not of small order           R' is not, which is the same point
//!   R is the encoding of R', byte for byte     the same
//! ```
//!
//! R' is the same point either way, also of an A with a part of small order: both multiply by k as a whole number, and
//! the formulas of this curve hold for all its points.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{SIGNATURE_LENGTH, Signature, VerifyingKey};
use sha2::{Digest, Sha512};

use crate::id::PeerKey;
use crate::smsg::curve::Extended;
use crate::smsg::multiples::{Multiples, Shape, sum_of};

/// A kind of table, and what earns it.
#[derive(Debug)]
struct Grade {
    shape: Shape,
    /// Good signatures of an author before its table is made. Bad ones count nothing: who floods us with them gets no
    /// table for it.
    after: u64,
    /// Tables of this kind in a process.
    most: usize,
}

/// From the least to the best, each faster and larger than the one before. Where a request opens in 46 us without a table,
/// it does in 16 with a small one and in 12 with a large one; making them takes 58 and 371 us, which they soon save.
const GRADES: [Grade; 2] = [
    // 6 KB: 51 MB for more rigs than a controller is made for.
    Grade { shape: Shape::SMALL, after: 8, most: 8192 },
    // 98 KB: 3 MB. A rig has one, of its controller, and a controller of a few rigs has those of all.
    Grade { shape: Shape::LARGE, after: 256, most: 32 },
];

/// A better table is looked for once in so many good signatures, under a lock that all links share.
const LOOK: u64 = 8;

static TABLES: Tables = Tables::new(GRADES);

/// Made once in a process, in 0.4 ms, by whoever has earned the first table.
static BASE: LazyLock<Multiples> =
    LazyLock::new(|| Multiples::new(point(ED25519_BASEPOINT_COMPRESSED.as_bytes()), Shape::LARGE));

/// The points of small order, as they are spelt canonically.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

/// A key's point. A `PeerKey` is one by the library's reading, and ours reads whatever that reads: `curve`'s tests.
fn point(bytes: &[u8; 32]) -> Extended {
    Extended::read(bytes).expect("it is a point")
}

/// Verifies one author's signatures.
pub(super) struct AuthorKey {
    key: VerifyingKey,
    /// Good signatures.
    good: u64,
    table: Option<Arc<Table>>,
    tables: &'static Tables,
}

impl AuthorKey {
    pub(super) fn new(author: &PeerKey) -> Self {
        Self::with(author, &TABLES)
    }

    fn with(author: &PeerKey, tables: &'static Tables) -> Self {
        Self { key: author.verifying(), good: 0, table: None, tables }
    }

    /// Whether the signature is the author's, strictly (RFC 8032, section 5.1.7, without cofactor; no point of small
    /// order). Twice in its life this takes some hundred us more, when the author has earned a table, and once in a process
    /// as much for [`BASE`]: the connection's task can wait so long, and needs no other.
    pub(super) fn verify(&mut self, message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        let signature = Signature::from_bytes(signature);
        let good = match &self.table {
            None => self.key.verify_strict(message, &signature).is_ok(),
            Some(table) => table.verify(&self.key, message, &signature),
        };
        if good {
            self.good += 1;
            if self.good.is_multiple_of(LOOK) {
                self.look_for_better();
            }
        }
        good
    }

    /// Takes the best table that another link to this author has, or that this one has earned.
    fn look_for_better(&mut self) {
        let present = self.table.as_ref().map_or(0, |table| table.grade + 1);
        let better = (present..GRADES.len()).rev().find_map(|grade| self.tables.table(grade, &self.key, self.good));
        self.table = better.or_else(|| self.table.take());
    }
}

/// The multiples of −A.
struct Table {
    grade: usize,
    minus_a: Multiples,
}

impl Table {
    fn new(author: &VerifyingKey, grade: usize, shape: Shape) -> Self {
        Self { grade, minus_a: Multiples::new(point(author.as_bytes()).negated(), shape) }
    }

    fn verify(&self, author: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        let Some(s) = Scalar::from_canonical_bytes(*signature.s_bytes()).into_option() else { return false };
        let r = signature.r_bytes();
        let hash = Sha512::new().chain_update(r).chain_update(author.as_bytes()).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let expected = sum_of([(&*BASE, &s), (&self.minus_a, &k)]);
        // The same bytes: so r is a canonical spelling, and of small order only if it is one of the eight.
        expected.compress() == *r && !SMALL_ORDER.contains(r)
    }
}

type Known = HashMap<[u8; 32], Weak<Table>>;

/// The tables of a process, by grade and author: all links to one author share one.
struct Tables {
    grades: [Grade; GRADES.len()],
    known: LazyLock<Mutex<[Known; GRADES.len()]>>,
}

impl Tables {
    const fn new(grades: [Grade; GRADES.len()]) -> Self {
        Self { grades, known: LazyLock::new(Mutex::default) }
    }

    fn lock(&self) -> MutexGuard<'_, [Known; GRADES.len()]> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The author's table, if there is one; made now for so many good signatures, unless there are too many tables.
    fn table(&self, grade: usize, author: &VerifyingKey, good: u64) -> Option<Arc<Table>> {
        let Grade { shape, after, most } = self.grades[grade];
        {
            let known = &mut self.lock()[grade];
            if let Some(table) = known.get(author.as_bytes()).and_then(Weak::upgrade) {
                return Some(table);
            }
            if good < after {
                return None;
            }
            if known.len() >= most {
                // When nobody has left, it goes on without, and asks again: links end.
                known.retain(|_, table| table.strong_count() > 0);
            }
            if known.len() >= most {
                return None;
            }
        }
        // Not under the lock: others verify meanwhile.
        let table = Arc::new(Table::new(author, grade, shape));
        let known = &mut self.lock()[grade];
        let present = known.get(author.as_bytes()).and_then(Weak::upgrade);
        present.or_else(|| {
            (known.len() < most).then(|| {
                known.insert(*author.as_bytes(), Arc::downgrade(&table));
                table
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
    use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
    use curve25519_dalek::traits::IsIdentity;
    use ed25519_dalek::{Signer, SigningKey, Verifier};
    use proptest::prelude::*;

    use super::*;

    /// An author whose point is its secret's and one of the eight of small order, with its tables.
    struct Author {
        secret: SigningKey,
        key: VerifyingKey,
        tables: [Table; GRADES.len()],
    }

    fn tables(key: &VerifyingKey) -> [Table; GRADES.len()] {
        std::array::from_fn(|grade| Table::new(key, grade, GRADES[grade].shape))
    }

    impl Author {
        fn new(seed: u8, torsion: usize) -> Self {
            let secret = SigningKey::from_bytes(&[seed; 32]);
            let point = (secret.verifying_key().to_edwards() + EIGHT_TORSION[torsion]).compress();
            let key = PeerKey::from_bytes(point.as_bytes()).expect("a mixed point is a key").verifying();
            Self { tables: tables(&key), secret, key }
        }

        /// What all ways say of a signature, which must be the same.
        fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
            let signature = Signature::from_bytes(signature);
            let strictly = self.key.verify_strict(message, &signature).is_ok();
            for table in &self.tables {
                assert_eq!(table.verify(&self.key, message, &signature), strictly, "{message:?} {signature}");
            }
            strictly
        }

        fn k(&self, r: &[u8; 32], message: &[u8]) -> Scalar {
            let hash = Sha512::new().chain_update(r).chain_update(self.key.as_bytes()).chain_update(message).finalize();
            Scalar::from_bytes_mod_order_wide(&hash.into())
        }

        /// A signature with `r` as it is given, and the s that is right for the point `[of]B` in its place.
        fn sign_with(&self, r: &[u8; 32], of: Scalar, message: &[u8]) -> [u8; 64] {
            let s = of + self.k(r, message) * self.secret.to_scalar();
            [*r, s.to_bytes()].concat().try_into().unwrap()
        }

        /// What is left of `R' − R` in that case, where R is the point `[of]B` and one of small order: of small order.
        fn rest(&self, r: &[u8; 32], torsion: EdwardsPoint, message: &[u8]) -> EdwardsPoint {
            let own = self.key.to_edwards() - self.secret.verifying_key().to_edwards();
            -(own * self.k(r, message)) - torsion
        }
    }

    /// Honest ones, and for each point of small order one that is mixed with it.
    static AUTHORS: LazyLock<Vec<Author>> =
        LazyLock::new(|| (0..8).map(|torsion| Author::new(torsion as u8 + 1, torsion)).collect());

    /// Bytes of y, the sign of x above them.
    fn encoding(y: [u8; 32], sign: u8) -> [u8; 32] {
        let mut bytes = y;
        bytes[31] |= sign << 7;
        bytes
    }

    /// p + `above`, in the 255 bits of y.
    fn p_plus(above: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + above;
        bytes[31] = 0x7f;
        bytes
    }

    /// All encodings that read as points of small order: 8 canonical ones, and 6 that are not.
    fn small_orders() -> Vec<[u8; 32]> {
        let (mut one, mut minus_one) = ([0; 32], p_plus(0));
        one[0] = 1;
        minus_one[0] -= 1;
        let loose = [
            encoding(one, 1),
            encoding(minus_one, 1),
            p_plus(0),
            encoding(p_plus(0), 1),
            p_plus(1),
            encoding(p_plus(1), 1),
        ];
        EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).chain(loose).collect()
    }

    /// s with `times` the group's order added, in 256 bits.
    fn above_the_order(signature: &[u8; 64], times: u8) -> Option<[u8; 64]> {
        let order = (-Scalar::ONE).to_bytes();
        let mut out = *signature;
        for _ in 0..times {
            // The order itself: one more than the largest scalar.
            let mut carry = 1;
            for (byte, more) in out[32..].iter_mut().zip(order) {
                let sum = u16::from(*byte) + u16::from(more) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
            if carry != 0 {
                return None;
            }
        }
        Some(out)
    }

    #[test]
    fn what_the_author_signed_is_good_and_nothing_one_bit_away() {
        let author = &AUTHORS[0];
        let signature = author.secret.sign(b"stop").to_bytes();
        assert!(author.verify(b"stop", &signature));
        assert!(!author.verify(b"stoq", &signature) && !author.verify(b"", &signature));
        for bit in 0..512 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!author.verify(b"stop", &altered), "{bit}");
        }
        assert!(!AUTHORS[1].verify(b"stop", &signature));
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    #[test]
    fn the_signatures_of_the_standard_are_good() {
        for (key, message, signature) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let key = PeerKey::from_bytes(&hex::decode(key).unwrap()).unwrap().verifying();
            let signature = Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
            let message = hex::decode(message).unwrap();
            assert!(tables(&key).iter().all(|table| table.verify(&key, &message, &signature)));
        }
    }

    #[test]
    fn an_s_above_the_order_is_refused() {
        let author = &AUTHORS[0];
        let signature = author.secret.sign(b"stop").to_bytes();
        let mut met = 0;
        for times in 1..16 {
            let Some(above) = above_the_order(&signature, times) else { break };
            let reduced = Scalar::from_bytes_mod_order(above[32..].try_into().unwrap());
            assert_eq!(reduced.as_bytes()[..], signature[32..], "the same s, spelt otherwise");
            assert!(!author.verify(b"stop", &above), "{times}");
            met += 1;
        }
        assert!(met >= 14, "{met}");
        // At the border: the order less one, which is a scalar, the order, and all ones.
        let border = [[0; 32], (-Scalar::ONE).to_bytes()].concat().try_into().unwrap();
        let mut all = signature;
        all[32..].fill(0xff);
        for bytes in [border, above_the_order(&[0; 64], 1).unwrap(), all] {
            assert!(!author.verify(b"stop", &bytes));
        }
    }

    /// Signatures for which the equation holds as it is checked without strictness: only the small order of R is wrong.
    #[test]
    fn an_r_of_small_order_is_refused_however_it_is_spelt() {
        let mut good_but_for_it = 0;
        for author in &*AUTHORS {
            for r in small_orders() {
                for message in 0..32_u8 {
                    let signature = author.sign_with(&r, Scalar::ZERO, &[message]);
                    assert!(!author.verify(&[message], &signature), "{r:?}");
                    let loosely = author.key.verify(&[message], &Signature::from_bytes(&signature)).is_ok();
                    good_but_for_it += u32::from(loosely);
                }
            }
        }
        // Of eight authors times eight canonical spellings times 32 messages, about an eighth.
        assert!(good_but_for_it > 100, "{good_but_for_it}");
    }

    /// Without cofactor: whether R' and R are equal decides, not whether they are up to a point of small order.
    #[test]
    fn mixed_points_are_good_just_when_they_are_equal() {
        let (mut good, mut bad) = (0, 0);
        for author in &*AUTHORS {
            for torsion in EIGHT_TORSION {
                for message in 0..16_u8 {
                    let of = Scalar::from(u64::from(message) + 2);
                    let r = (ED25519_BASEPOINT_POINT * of + torsion).compress().to_bytes();
                    let signature = author.sign_with(&r, of, &[message]);
                    let equal = author.rest(&r, torsion, &[message]).is_identity();
                    assert_eq!(author.verify(&[message], &signature), equal);
                    *(if equal { &mut good } else { &mut bad }) += 1;
                    // The points of small order apart from it that a check with cofactor would let pass.
                    let s = Scalar::from_canonical_bytes(signature[32..].try_into().unwrap()).unwrap();
                    let left = EdwardsPoint::mul_base(&s) - author.key.to_edwards() * author.k(&r, &[message]);
                    assert!((left - CompressedEdwardsY(r).decompress().unwrap()).is_small_order());
                }
            }
        }
        assert!(good > 50 && bad > 500, "{good} {bad}");
    }

    /// Every y from p up that is a point's, of whatever order, with either sign. For those not of small order nobody knows
    /// an s that is right; were there one, the bytes would still not be those of R'.
    #[test]
    fn an_r_that_is_not_canonical_is_refused() {
        let mut points = 0;
        for author in &*AUTHORS {
            for (above, sign) in (0..19).flat_map(|above| [(above, 0), (above, 1)]) {
                let r = encoding(p_plus(above), sign);
                let Some(point) = CompressedEdwardsY(r).decompress() else {
                    assert!(!author.verify(b"", &author.sign_with(&r, Scalar::ONE, b"")), "no point");
                    continue;
                };
                points += 1;
                assert!(point.compress().to_bytes() != r);
                for of in [Scalar::ZERO, Scalar::ONE] {
                    assert!(!author.verify(b"", &author.sign_with(&r, of, b"")));
                    // As the canonical spelling would have it, the hash over that included.
                    let mut moved = author.sign_with(point.compress().as_bytes(), of, b"");
                    moved[..32].copy_from_slice(&r);
                    assert!(!author.verify(b"", &moved));
                }
            }
        }
        assert!(points >= 8 * 10, "{points}");
    }

    proptest! {
        #[test]
        fn a_table_and_the_library_agree_about_any_signature(
            author in 0..8_usize,
            message in prop::collection::vec(any::<u8>(), 0..100),
            signature in prop_oneof![3 => Just(None), 1 => any::<[u8; 64]>().prop_map(Some)],
            flips in prop::collection::vec(0..512_usize, 0..3),
            orders in prop_oneof![3 => Just(0_u8), 1 => 1..3_u8],
            torsion in prop_oneof![2 => Just(EIGHT_TORSION[0]), 1 => prop::sample::select(EIGHT_TORSION.to_vec())],
            of in any::<[u8; 32]>(),
        ) {
            let author = &AUTHORS[author];
            let of = Scalar::from_bytes_mod_order(of);
            let point = EdwardsPoint::mul_base(&of) + torsion;
            let r = point.compress().to_bytes();
            let made = author.sign_with(&r, of, &message);
            let mut bytes = signature.unwrap_or(made);
            for flip in flips {
                bytes[flip / 8] ^= 1 << (flip % 8);
            }
            let bytes = above_the_order(&bytes, orders).unwrap_or(bytes);
            let right = bytes == made && !point.is_small_order() && author.rest(&r, torsion, &message).is_identity();
            prop_assert_eq!(author.verify(&message, &bytes), right);
        }
    }

    fn signed(secret: &SigningKey, number: u32) -> ([u8; 4], [u8; 64]) {
        let message = number.to_be_bytes();
        (message, secret.sign(&message).to_bytes())
    }

    /// The verifier of an author's messages, and its secret.
    struct Ear {
        secret: SigningKey,
        author: AuthorKey,
        number: u32,
    }

    impl Ear {
        fn new(seed: u8, tables: &'static Tables) -> Self {
            let secret = SigningKey::from_bytes(&[seed; 32]);
            let author = AuthorKey::with(&PeerKey(secret.verifying_key().to_bytes()), tables);
            Self { secret, author, number: 0 }
        }

        /// Hears so many more, and a bad one; which table it has then.
        fn hear(&mut self, times: u64) -> Option<usize> {
            for _ in 0..times {
                let (message, signature) = signed(&self.secret, self.number);
                self.number += 1;
                assert!(self.author.verify(&message, &signature) && !self.author.verify(b"", &signature));
            }
            self.author.table.as_ref().map(|table| table.grade)
        }
    }

    const fn few(most: [usize; 2]) -> Tables {
        let [small, large] = GRADES;
        Tables::new([Grade { most: most[0], ..small }, Grade { most: most[1], ..large }])
    }

    #[test]
    fn good_signatures_earn_tables_and_bad_ones_do_not() {
        static TABLES: Tables = few([1, 1]);
        let mut ear = Ear::new(1, &TABLES);
        let (message, signature) = signed(&SigningKey::from_bytes(&[2; 32]), 0);
        for _ in 0..2 * GRADES[0].after {
            assert!(!ear.author.verify(&message, &signature));
        }
        assert_eq!(ear.author.good, 0);
        assert_eq!(ear.hear(GRADES[0].after - 1), None);
        assert_eq!(ear.hear(1), Some(0));
        assert_eq!(ear.hear(GRADES[1].after - GRADES[0].after - 1), Some(0));
        assert_eq!(ear.hear(1), Some(1));
        assert_eq!(ear.hear(GRADES[1].after), Some(1));
    }

    #[test]
    fn tables_are_bounded_shared_and_forgotten() {
        static TABLES: Tables = few([2, 1]);
        let small = GRADES[0].after;
        let mut ears: Vec<_> = (1..=3).map(|seed| Ear::new(seed, &TABLES)).collect();
        let hear = |ears: &mut [Ear], times| ears.iter_mut().map(|ear| ear.hear(times)).collect::<Vec<_>>();
        assert_eq!(hear(&mut ears, small), [Some(0), Some(0), None]);
        // Without a table the third goes on as before. The first to have earned it takes the one large table.
        assert_eq!(hear(&mut ears, GRADES[1].after), [Some(1), Some(0), Some(0)], "the first left its small one");
        // Another link to the first takes its table when it first looks for one.
        let mut other = Ear::new(1, &TABLES);
        assert_eq!((other.hear(LOOK - 1), other.hear(1)), (None, Some(1)));
        let tables = [&ears[0], &other].map(|ear| ear.author.table.clone().unwrap());
        assert!(Arc::ptr_eq(&tables[0], &tables[1]));
        drop(tables);
        ears.remove(0);
        assert_eq!(hear(&mut ears, LOOK), [Some(0), Some(0)]);
        drop(other);
        assert_eq!(hear(&mut ears, LOOK), [Some(1), Some(0)]);
        drop(ears);
        assert!(TABLES.lock().iter().flatten().all(|(_, table)| table.upgrade().is_none()));
    }
}
