//! HPKE (RFC 9180) in Auth mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
//!
//! Names follow the RFC. Two things differ in form only: the sequence number is an argument, because our messages
//! may arrive in any order, and the ephemeral key is an argument, because this crate has no random numbers of its own.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::smsg::assembly::Sealing;

/// "KEM" and the id of DHKEM(X25519, HKDF-SHA256): RFC 9180, section 4.1.
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
/// "HPKE" and the ids of KEM, KDF and AEAD: RFC 9180, section 5.1.
const HPKE_SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";
/// RFC 9180, section 5, table 1.
const MODE_AUTH: u8 = 2;

/// Length of the AEAD's tag.
pub(super) const TAG: usize = 16;

/// The two keys agree on nothing secret, or the encapsulated key is no proper encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAgreement;

/// The ciphertext is not what this key and header sealed; or, when sealing, more than the cipher can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CipherError;

/// What encapsulation yields: RFC 9180, section 4.1.
pub(super) struct SharedSecret(Zeroizing<[u8; 32]>);

/// `AuthEncap` with the ephemeral key given: the shared secret and `enc`.
pub(super) fn auth_encap(
    ephemeral: &StaticSecret,
    sender: &StaticSecret,
    sender_public: &[u8; 32],
    receiver_public: &[u8; 32],
) -> Result<(SharedSecret, [u8; 32]), NoAgreement> {
    let receiver = PublicKey::from(*receiver_public);
    let enc = PublicKey::from(ephemeral).to_bytes();
    let dh = [agree(ephemeral, &receiver)?, agree(sender, &receiver)?];
    Ok((extract_and_expand(&dh, &enc, receiver_public, sender_public), enc))
}

/// `AuthDecap`: the same shared secret from `enc`.
pub(super) fn auth_decap(
    enc: &[u8; 32],
    receiver: &StaticSecret,
    receiver_public: &[u8; 32],
    sender_public: &[u8; 32],
) -> Result<SharedSecret, NoAgreement> {
    if !is_canonical(enc) {
        return Err(NoAgreement);
    }
    let dh = [agree(receiver, &PublicKey::from(*enc))?, agree(receiver, &PublicKey::from(*sender_public))?];
    Ok(extract_and_expand(&dh, enc, receiver_public, sender_public))
}

/// Diffie-Hellman that refuses the all-zero secret, as RFC 9180, section 7.1.4 demands.
fn agree(secret: &StaticSecret, public: &PublicKey) -> Result<Zeroizing<[u8; 32]>, NoAgreement> {
    let shared = secret.diffie_hellman(public);
    if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(NoAgreement) }
}

/// Whether a u-coordinate is below 2^255 - 19. X25519 itself takes any 32 bytes; we take one spelling of each key.
fn is_canonical(u: &[u8; 32]) -> bool {
    match u[31] {
        0x80.. => false,
        0x7f => u[0] < 0xed || u[1..31].iter().any(|byte| *byte != 0xff),
        _ => true,
    }
}

fn extract_and_expand(
    dh: &[Zeroizing<[u8; 32]>; 2],
    enc: &[u8; 32],
    receiver_public: &[u8; 32],
    sender_public: &[u8; 32],
) -> SharedSecret {
    let mut kem_context = [0; 96];
    kem_context[..32].copy_from_slice(enc);
    kem_context[32..64].copy_from_slice(receiver_public);
    kem_context[64..].copy_from_slice(sender_public);
    let (_, eae_prk) = labeled_extract(KEM_SUITE, b"", b"eae_prk", &[dh[0].as_slice(), dh[1].as_slice()]);
    SharedSecret(labeled_expand(&eae_prk, KEM_SUITE, b"shared_secret", &kem_context))
}

/// The key, for whichever of two libraries is faster here. Both compute the same (RFC 8439).
enum Aead {
    Machine(Sealing),
    Portable(ChaCha20Poly1305),
}

impl Aead {
    fn new(key: &[u8; 32]) -> Self {
        Sealing::new(key).map_or_else(|| Self::portable(key), Self::Machine)
    }

    fn portable(key: &[u8; 32]) -> Self {
        Self::Portable(ChaCha20Poly1305::new(key.into()))
    }

    fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], CipherError> {
        match self {
            Self::Machine(aead) => Ok(aead.seal(nonce, aad, buffer)),
            Self::Portable(aead) => {
                let tag = aead.encrypt_inout_detached(&Nonce::from(*nonce), aad, buffer.into());
                tag.map(Into::into).map_err(|_| CipherError)
            }
        }
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<(), CipherError> {
        let opened = match self {
            Self::Machine(aead) => aead.open(nonce, aad, buffer, tag),
            Self::Portable(aead) => {
                aead.decrypt_inout_detached(&Nonce::from(*nonce), aad, buffer.into(), &Tag::from(*tag)).is_ok()
            }
        };
        opened.then_some(()).ok_or(CipherError)
    }
}

/// A key with a base nonce: what seals and opens, each sequence number once.
pub(super) struct Cipher {
    aead: Aead,
    base_nonce: Zeroizing<[u8; 12]>,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32], base_nonce: Zeroizing<[u8; 12]>) -> Self {
        Self { aead: Aead::new(key), base_nonce }
    }

    /// Encrypts in place. The caller never uses a sequence number twice.
    pub(super) fn seal(&self, seq: u64, aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], CipherError> {
        self.aead.seal(&self.nonce(seq), aad, buffer)
    }

    /// Decrypts in place; on failure the buffer holds nothing of worth.
    pub(super) fn open(&self, seq: u64, aad: &[u8], buffer: &mut [u8], tag: &[u8; TAG]) -> Result<(), CipherError> {
        self.aead.open(&self.nonce(seq), aad, buffer, tag)
    }

    /// `ComputeNonce`: RFC 9180, section 5.2.
    fn nonce(&self, seq: u64) -> [u8; 12] {
        let mut nonce = *self.base_nonce;
        for (byte, of_seq) in nonce[4..].iter_mut().zip(seq.to_be_bytes()) {
            *byte ^= of_seq;
        }
        nonce
    }
}

/// A session's keys: RFC 9180, section 5.1.
pub(super) struct Context {
    pub(super) cipher: Cipher,
    exporter_secret: Hkdf<Sha256>,
}

impl Context {
    /// `KeySchedule` in Auth mode, where `psk` and `psk_id` are empty.
    pub(super) fn schedule(shared_secret: &SharedSecret, info: &[u8]) -> Self {
        let (psk_id_hash, _) = labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", &[]);
        let (info_hash, _) = labeled_extract(HPKE_SUITE, b"", b"info_hash", &[info]);
        let mut context = [0; 65];
        context[0] = MODE_AUTH;
        context[1..33].copy_from_slice(&*psk_id_hash);
        context[33..].copy_from_slice(&*info_hash);

        let (_, secret) = labeled_extract(HPKE_SUITE, shared_secret.0.as_slice(), b"secret", &[]);
        let key = labeled_expand::<32>(&secret, HPKE_SUITE, b"key", &context);
        let base_nonce = labeled_expand::<12>(&secret, HPKE_SUITE, b"base_nonce", &context);
        let exporter_secret = labeled_expand::<32>(&secret, HPKE_SUITE, b"exp", &context);
        Self { cipher: Cipher::new(&key, base_nonce), exporter_secret: from_prk(&exporter_secret) }
    }

    /// `Context.Export`: RFC 9180, section 5.3.
    pub(super) fn export<const N: usize>(&self, exporter_context: &[u8]) -> Zeroizing<[u8; N]> {
        labeled_expand(&self.exporter_secret, HPKE_SUITE, b"sec", exporter_context)
    }
}

fn from_prk(prk: &[u8; 32]) -> Hkdf<Sha256> {
    Hkdf::from_prk(prk).expect("32 bytes are a pseudorandom key for SHA-256")
}

/// `LabeledExtract`: RFC 9180, section 4.
fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[&[u8]]) -> (Zeroizing<[u8; 32]>, Hkdf<Sha256>) {
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in [b"HPKE-v1".as_slice(), suite, label].iter().chain(ikm) {
        extract.input_ikm(part);
    }
    let (mut output, hkdf) = extract.finalize();
    let prk = Zeroizing::new(output.into());
    output.as_mut_slice().zeroize();
    (prk, hkdf)
}

/// `LabeledExpand`: RFC 9180, section 4.
fn labeled_expand<const N: usize>(prk: &Hkdf<Sha256>, suite: &[u8], label: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "the most that HKDF-SHA256 yields") };
    let mut okm = Zeroizing::new([0; N]);
    let length = (N as u16).to_be_bytes();
    prk.expand_multi_info(&[&length, b"HPKE-v1", suite, label, info], okm.as_mut_slice())
        .expect("the length was checked when this was compiled");
    okm
}

#[cfg(test)]
mod tests {
    use ::hpke::aead::ChaCha20Poly1305 as TheirCipher;
    use ::hpke::kdf::HkdfSha256;
    use ::hpke::kem::X25519HkdfSha256;
    use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
    use proptest::prelude::*;

    use super::*;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        hex::decode(digits).unwrap().try_into().unwrap()
    }

    proptest! {
        #[test]
        fn whoever_seals_seals_the_same(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; 12]>(),
            aad in prop::collection::vec(any::<u8>(), 0..80),
            text in prop::collection::vec(any::<u8>(), 0..1200),
            flip in 0..1400 * 8_usize,
        ) {
            let ways = [Some(Aead::portable(&key)), Sealing::new(&key).map(Aead::Machine)];
            let sealed: Vec<_> = ways.iter().flatten().map(|way| {
                let mut buffer = text.clone();
                let tag = way.seal(&nonce, &aad, &mut buffer).unwrap();
                (buffer, tag)
            }).collect();
            let (ciphertext, tag) = &sealed[0];
            for (way, same) in ways.iter().flatten().zip(&sealed) {
                prop_assert_eq!(same, &sealed[0]);
                let mut buffer = ciphertext.clone();
                prop_assert!(way.open(&nonce, &aad, &mut buffer, tag).is_ok());
                prop_assert_eq!(&buffer, &text);
                let (mut buffer, mut tag, mut aad) = (ciphertext.clone(), *tag, aad.clone());
                let mut bytes = buffer.iter_mut().chain(&mut tag).chain(&mut aad);
                let all = bytes.size_hint().0;
                *bytes.nth(flip / 8 % all).unwrap() ^= 1 << (flip % 8);
                prop_assert!(way.open(&nonce, &aad, &mut buffer, &tag).is_err());
            }
        }
    }

    fn public(secret: &StaticSecret) -> [u8; 32] {
        PublicKey::from(secret).to_bytes()
    }

    fn seal(cipher: &Cipher, seq: u64, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut buffer = plaintext.to_vec();
        let tag = cipher.seal(seq, aad, &mut buffer).unwrap();
        [buffer.as_slice(), &tag].concat()
    }

    fn open(cipher: &Cipher, seq: u64, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG>().unwrap();
        let mut buffer = body.to_vec();
        cipher.open(seq, aad, &mut buffer, tag)?;
        Ok(buffer)
    }

    // RFC 9180, appendix A.2.3: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, mode Auth.
    const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
    const SK_E: &str = "c94619e1af28971c8fa7957192b7e62a71ca2dcdde0a7cc4a8a9e741d600ab13";
    const SK_R: &str = "3ca22a6d1cda1bb9480949ec5329d3bf0b080ca4c45879c95eddb55c70b80b82";
    const PK_R: &str = "1a478716d63cb2e16786ee93004486dc151e988b34b475043d3e0175bdb01c44";
    const SK_S: &str = "2def0cb58ffcf83d1062dd085c8aceca7f4c0c3fd05912d847b61f3e54121f05";
    const PK_S: &str = "f0f4f9e96c54aeed3f323de8534fffd7e0577e4ce269896716bcb95643c8712b";
    const ENC: &str = "f7674cc8cd7baa5872d1f33dbaffe3314239f6197ddf5ded1746760bfc847e0e";
    const SHARED_SECRET: &str = "d2d67828c8bc9fa661cf15a31b3ebf1febe0cafef7abfaaca580aaf6d471e3eb";
    const KEY: &str = "b071fd1136680600eb447a845a967d35e9db20749cdf9ce098bcc4deef4b1356";
    const BASE_NONCE: &str = "d20577dff16d7cea2c4bf780";
    const EXPORTER_SECRET: &str = "be2d93b82071318cdb88510037cf504344151f2f9b9da8ab48974d40a2251dd7";
    const PLAINTEXT: &str = "4265617574792069732074727574682c20747275746820626561757479";
    const ENCRYPTIONS: [(u64, &str, &str, &str); 6] = [
        (
            0,
            "436f756e742d30",
            "d20577dff16d7cea2c4bf780",
            "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf",
        ),
        (
            1,
            "436f756e742d31",
            "d20577dff16d7cea2c4bf781",
            "3265c7807ffff7fdace21659a2c6ccffee52a26d270c76468ed74202a65478bfaedfff9c2b7634e24f10b71016",
        ),
        (
            2,
            "436f756e742d32",
            "d20577dff16d7cea2c4bf782",
            "3aadee86ad2a05081ea860033a9d09dbccb4acac2ded0891da40f51d4df19925f7a767b076a5cbc9355c8fd35e",
        ),
        (
            4,
            "436f756e742d34",
            "d20577dff16d7cea2c4bf784",
            "502ecccd5c2be3506a081809cc58b43b94f77cbe37b8b31712d9e21c9e61aa6946a8e922f54eae630f88eb8033",
        ),
        (
            255,
            "436f756e742d323535",
            "d20577dff16d7cea2c4bf77f",
            "652e597ba20f3d9241cda61f33937298b1169e6adf72974bbe454297502eb4be132e1c5064702fc165c2ddbde8",
        ),
        (
            256,
            "436f756e742d323536",
            "d20577dff16d7cea2c4bf680",
            "3be14e8b3bbd1028cf2b7d0a691dbbeff71321e7dec92d3c2cfb30a0994ab246af76168480285a60037b4ba13a",
        ),
    ];
    const EXPORTS: [(&str, &str); 3] = [
        ("", "070cffafd89b67b7f0eeb800235303a223e6ff9d1e774dce8eac585c8688c872"),
        ("00", "2852e728568d40ddb0edde284d36a4359c56558bb2fb8837cd3d92e46a3a14a8"),
        ("54657374436f6e74657874", "1df39dc5dd60edcbf5f9ae804e15ada66e885b28ed7929116f768369a3f950ee"),
    ];

    fn rfc_contexts() -> [Context; 2] {
        let [ephemeral, sender, receiver] = [SK_E, SK_S, SK_R].map(|secret| StaticSecret::from(bytes::<32>(secret)));
        assert_eq!(public(&sender), bytes(PK_S));
        assert_eq!(public(&receiver), bytes(PK_R));
        let (sent, enc) = auth_encap(&ephemeral, &sender, &bytes(PK_S), &bytes(PK_R)).unwrap();
        assert_eq!(enc, bytes(ENC));
        let received = auth_decap(&enc, &receiver, &bytes(PK_R), &bytes(PK_S)).unwrap();
        for secret in [&sent, &received] {
            assert_eq!(*secret.0, bytes(SHARED_SECRET));
        }
        [sent, received].map(|secret| Context::schedule(&secret, &hex::decode(INFO).unwrap()))
    }

    #[test]
    fn the_key_schedule_is_that_of_rfc_9180() {
        for context in rfc_contexts() {
            assert_eq!(*context.cipher.base_nonce, bytes(BASE_NONCE));
            // The cipher and the exporter keep their keys to themselves: what the RFC's keys do, they must do.
            let sealed = seal(&Cipher::new(&bytes(KEY), Zeroizing::new(bytes(BASE_NONCE))), 7, b"aad", b"text");
            assert_eq!(seal(&context.cipher, 7, b"aad", b"text"), sealed);
            let exporter = from_prk(&bytes(EXPORTER_SECRET));
            assert_eq!(context.export::<32>(b"x"), labeled_expand(&exporter, HPKE_SUITE, b"sec", b"x"));
        }
    }

    #[test]
    fn the_encryptions_are_those_of_rfc_9180() {
        let plaintext = hex::decode(PLAINTEXT).unwrap();
        for context in rfc_contexts() {
            for (seq, aad, nonce, ciphertext) in ENCRYPTIONS {
                let (aad, ciphertext) = (hex::decode(aad).unwrap(), hex::decode(ciphertext).unwrap());
                assert_eq!(context.cipher.nonce(seq), Nonce::from(bytes::<12>(nonce)));
                assert_eq!(seal(&context.cipher, seq, &aad, &plaintext), ciphertext, "{seq}");
                assert_eq!(open(&context.cipher, seq, &aad, &ciphertext), Ok(plaintext.clone()), "{seq}");
                assert_eq!(open(&context.cipher, seq + 1, &aad, &ciphertext), Err(CipherError), "{seq}");
            }
        }
    }

    #[test]
    fn the_exported_values_are_those_of_rfc_9180() {
        for context in rfc_contexts() {
            for (exporter_context, value) in EXPORTS {
                let exporter_context = hex::decode(exporter_context).unwrap();
                assert_eq!(*context.export::<32>(&exporter_context), bytes(value));
            }
        }
    }

    #[test]
    fn an_all_zero_secret_and_a_second_spelling_of_a_key_are_refused() {
        let secret = StaticSecret::from([7; 32]);
        let own = public(&secret);
        let small_order: [[u8; 32]; 4] = [
            [0; 32],
            bytes("0100000000000000000000000000000000000000000000000000000000000000"),
            bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            bytes("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        ];
        for point in small_order {
            assert!(auth_decap(&point, &secret, &own, &own).is_err());
            assert!(auth_decap(&own, &secret, &own, &point).is_err());
            assert!(auth_encap(&secret, &secret, &own, &point).is_err());
        }
        let mut high_bit = own;
        high_bit[31] |= 0x80;
        assert!(auth_decap(&high_bit, &secret, &own, &own).is_err());
        for (loose, canonical) in [(0xec, true), (0xed, false), (0xf6, false), (0xff, false)] {
            let mut u = [0xff; 32];
            (u[0], u[31]) = (loose, 0x7f);
            assert_eq!(is_canonical(&u), canonical);
        }
    }

    type TheirKem = X25519HkdfSha256;
    type TheirSecret = <TheirKem as Kem>::PrivateKey;
    type TheirPublic = <TheirKem as Kem>::PublicKey;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn another_implementation_opens_what_we_seal(
            seeds in prop::array::uniform3(any::<[u8; 32]>()),
            info in prop::collection::vec(any::<u8>(), 0..100),
            messages in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 1..5),
        ) {
            let [ephemeral, sender, receiver] = seeds.map(StaticSecret::from);
            let (secret, enc) = auth_encap(&ephemeral, &sender, &public(&sender), &public(&receiver)).unwrap();
            let ours = Context::schedule(&secret, &info);

            let mode = OpModeR::Auth(TheirPublic::from_bytes(&public(&sender)).unwrap());
            let their_secret = TheirSecret::from_bytes(&receiver.to_bytes()).unwrap();
            let their_enc = <TheirKem as Kem>::EncappedKey::from_bytes(&enc).unwrap();
            let mut theirs =
                ::hpke::setup_receiver::<TheirCipher, HkdfSha256, TheirKem>(&mode, &their_secret, &their_enc, &info)
                    .unwrap();
            for (seq, (aad, plaintext)) in messages.iter().enumerate() {
                let sealed = seal(&ours.cipher, seq as u64, aad, plaintext);
                prop_assert_eq!(&theirs.open(&sealed, aad).unwrap(), plaintext);
            }
            let mut exported = [0; 12];
            theirs.export(&info, &mut exported).unwrap();
            prop_assert_eq!(*ours.export::<12>(&info), exported);
        }

        #[test]
        fn we_open_what_another_implementation_seals(
            seeds in prop::array::uniform2(any::<[u8; 32]>()),
            info in prop::collection::vec(any::<u8>(), 0..100),
            messages in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 1..5),
        ) {
            let [sender, receiver] = seeds.map(StaticSecret::from);
            let pair = (
                TheirSecret::from_bytes(&sender.to_bytes()).unwrap(),
                TheirPublic::from_bytes(&public(&sender)).unwrap(),
            );
            let (enc, mut theirs) = ::hpke::setup_sender_with_rng::<TheirCipher, HkdfSha256, TheirKem>(
                &OpModeS::Auth(pair),
                &TheirPublic::from_bytes(&public(&receiver)).unwrap(),
                &info,
                &mut rand::rng(),
            )
            .unwrap();
            let enc = enc.to_bytes().as_slice().try_into().unwrap();
            let secret = auth_decap(&enc, &receiver, &public(&receiver), &public(&sender)).unwrap();
            let ours = Context::schedule(&secret, &info);
            for (seq, (aad, plaintext)) in messages.iter().enumerate() {
                let sealed = theirs.seal(plaintext, aad).unwrap();
                prop_assert_eq!(&open(&ours.cipher, seq as u64, aad, &sealed).unwrap(), plaintext);
            }
        }
    }
}
