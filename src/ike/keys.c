/* ike/keys: the IKEv2 key schedule. Formulas: RFC 7296 2.13-2.18, RFC 9242 3.3, RFC 9370 2.2.
 */
#include "keys.h"

/* RFC 7296 2.15: 17 octets, no NUL */
static const struct span KEY_PAD = {(const uint8_t *)"Key Pad for IKEv2", 17};

/* prf(key, parts) into ret only when it succeeded. */
static enum rc prf_into(struct crypto *c, uint16_t prf, struct span key, const struct span *parts, size_t n,
                        uint8_t *ret)
{
    uint8_t out[PRF_MAX];
    enum rc rc = crypto_prf(c, prf, key, parts, n, out);
    if (rc == RC_OK)
        memcpy(ret, out, crypto_prf_size(prf)); /* lint: not wire bytes: a PRF output */
    wipe(out, sizeof out);
    return rc;
}

enum rc ike_keys_seed_initial(struct crypto *c, uint16_t prf, struct ike_nonces n, struct span shared,
                              uint8_t ret[PRF_MAX])
{
    uint8_t key[512];
    struct wr w = wr_of(key, sizeof key); /* two nonces of at most 256 octets, RFC 7296 3.9 */
    wr_bytes(&w, n.ni);
    wr_bytes(&w, n.nr);
    if (w.failed)
        return RC_LIMIT;
    return prf_into(c, prf, wr_span(&w), &shared, 1, ret);
}

enum rc ike_keys_seed_intermediate(struct crypto *c, uint16_t prf, struct span sk_d, struct span shared,
                                   struct ike_nonces n, uint8_t ret[PRF_MAX])
{
    const struct span parts[] = {shared, n.ni, n.nr};
    return prf_into(c, prf, sk_d, parts, ARRAY_LEN(parts), ret);
}

/* SK(0) | Ni | Nr | SK(1) .. SK(n): the seed of CREATE_CHILD_SA, for both kinds of SA. */
#define SEED_PARTS (3 + 7)
static enum rc create_seed(struct span shared, struct ike_nonces n, const struct span *more, size_t n_more,
                           struct span ret[SEED_PARTS])
{
    if (n_more > SEED_PARTS - 3)
        return RC_LIMIT;
    ret[0] = shared;
    ret[1] = n.ni;
    ret[2] = n.nr;
    for (size_t i = 0; i < n_more; i++)
        ret[3 + i] = more[i];
    return RC_OK;
}

enum rc ike_keys_seed_rekey(struct crypto *c, uint16_t old_prf, struct span old_sk_d, struct span shared,
                            struct ike_nonces n, const struct span *more, size_t n_more, uint8_t ret[PRF_MAX])
{
    struct span parts[SEED_PARTS];
    enum rc rc = create_seed(shared, n, more, n_more, parts);
    return rc ? rc : prf_into(c, old_prf, old_sk_d, parts, 3 + n_more, ret);
}

enum rc ike_keys_expand(struct crypto *c, uint16_t prf, struct span skeyseed, struct ike_nonces n, uint64_t spi_i,
                        uint64_t spi_r, uint8_t *ret, size_t n_ret)
{
    uint8_t spis[16];
    struct wr w = wr_of(spis, sizeof spis);
    wr_u64(&w, spi_i);
    wr_u64(&w, spi_r);
    const struct span parts[] = {n.ni, n.nr, wr_span(&w)};
    return crypto_prf_plus(c, prf, skeyseed, parts, ARRAY_LEN(parts), ret, n_ret);
}

static void cut(struct rd *r, uint8_t *ret, size_t n)
{
    struct span s = rd_take(r, n);
    if (s.p)
        memcpy(ret, s.p, n); /* lint: not wire bytes: our own key material */
}

enum rc ike_keys_derive(struct crypto *c, uint16_t prf, struct sk_alg alg, struct span skeyseed, struct ike_nonces n,
                        uint64_t spi_i, uint64_t spi_r, struct ike_keys *ret)
{
    struct sk_sizes sizes;
    size_t n_prf = crypto_prf_size(prf);
    if (!n_prf || !crypto_sk_sizes(alg, &sizes) || sizes.key_e > SK_E_MAX || sizes.key_a > SK_A_MAX)
        return RC_UNSUPPORTED;

    uint8_t raw[3 * PRF_MAX + 2 * SK_A_MAX + 2 * SK_E_MAX];
    size_t n_raw = 3 * n_prf + 2u * sizes.key_a + 2u * sizes.key_e;
    enum rc rc = ike_keys_expand(c, prf, skeyseed, n, spi_i, spi_r, raw, n_raw);
    if (rc == RC_OK) {
        struct ike_keys k = {.n_prf = (uint8_t)n_prf, .n_a = sizes.key_a, .n_e = sizes.key_e};
        struct rd r = rd_of(span_of(raw, n_raw));
        cut(&r, k.d, n_prf);
        cut(&r, k.ai, sizes.key_a);
        cut(&r, k.ar, sizes.key_a);
        cut(&r, k.ei, sizes.key_e);
        cut(&r, k.er, sizes.key_e);
        cut(&r, k.pi, n_prf);
        cut(&r, k.pr, n_prf);
        *ret = k;
        wipe(&k, sizeof k);
    }
    wipe(raw, sizeof raw);
    return rc;
}

enum rc ike_keys_int_auth(struct crypto *c, uint16_t prf, struct span sk_p, struct span previous, struct span a,
                          struct span p, uint8_t ret[PRF_MAX])
{
    const struct span parts[] = {previous, a, p};
    return prf_into(c, prf, sk_p, parts, ARRAY_LEN(parts), ret);
}

enum rc ike_keys_auth(struct crypto *c, uint16_t prf, struct span psk, const struct ike_auth_input *in,
                      uint8_t ret[PRF_MAX])
{
    static const uint8_t zeros[8];
    size_t n_prf = crypto_prf_size(prf);
    uint8_t key[PRF_MAX], maced_id[PRF_MAX], mid[4];
    struct wr w = wr_of(mid, sizeof mid);
    wr_u32(&w, in->auth_mid);

    enum rc rc = crypto_prf(c, prf, psk, &KEY_PAD, 1, key);
    if (rc == RC_OK)
        rc = crypto_prf(c, prf, in->sk_p, &in->id, 1, maced_id);
    if (rc == RC_OK) {
        /* RFC 9242 3.3.1: neither IntAuth nor message ID without an IKE_INTERMEDIATE */
        bool intermediate = in->int_auth_i.n > 0;
        const struct span none = {NULL, 0};
        const struct span octets[] = {
            in->full_transcript ? span_of(zeros, sizeof zeros) : none,
            in->full_transcript ? in->peer_message : none,
            in->message,
            in->peer_nonce,
            span_of(maced_id, n_prf),
            in->int_auth_i,
            in->int_auth_r,
            intermediate ? wr_span(&w) : none,
        };
        rc = prf_into(c, prf, span_of(key, n_prf), octets, ARRAY_LEN(octets), ret);
    }
    wipe(key, sizeof key);
    wipe(maced_id, sizeof maced_id);
    return rc;
}

enum rc ike_keys_child(struct crypto *c, uint16_t prf, struct span sk_d, struct span shared, struct ike_nonces n,
                       const struct span *more, size_t n_more, uint8_t *ret, size_t n_ret)
{
    struct span parts[SEED_PARTS];
    enum rc rc = create_seed(shared, n, more, n_more, parts);
    return rc ? rc : crypto_prf_plus(c, prf, sk_d, parts, 3 + n_more, ret, n_ret);
}
