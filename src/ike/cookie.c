/* ike/cookie: stateless cookies (RFC 7296 2.6). */
#include "cookie.h"

#include "adit/crypto.h"

void ike_cookie_secret(struct ike_cookies *c, const uint8_t secret[32], const struct rng *rng)
{
    static const uint8_t ZERO[sizeof c->secret];
    const struct span wanted = span_of(secret, sizeof c->secret), now = span_of(c->secret, sizeof c->secret);
    bool ours = crypto_equal(wanted, span_of(ZERO, sizeof ZERO));
    if (ours ? c->ours : crypto_equal(wanted, now))
        return;
    uint8_t fresh[sizeof c->secret];
    rng_fill(rng, fresh, sizeof fresh);
    bool first = crypto_equal(now, span_of(ZERO, sizeof ZERO));   /* zero is nobody's secret: never accepted */
    memcpy(c->previous, first ? fresh : c->secret, sizeof fresh); /* lint: not wire bytes: our own secret */
    if (first || ours)
        rng_fill(rng, fresh, sizeof fresh);
    memcpy(c->secret, ours ? fresh : secret, sizeof fresh); /* lint: not wire bytes: our own secret */
    c->ours = ours;
    wipe(fresh, sizeof fresh);
}

static void make(const uint8_t secret[32], uint64_t epoch, const struct ike_cookie_claim *claim,
                 uint8_t ret[COOKIE_SIZE])
{
    uint8_t fixed[8 + 8], mac[32];
    struct wr w = wr_of(fixed, sizeof fixed);
    wr_u64(&w, epoch);
    wr_u64(&w, claim->spi_i);
    /* Only the nonce varies in length, and it stands last: no two claims give the same octets. */
    const struct span parts[] = {
        wr_span(&w),
        span_of(&claim->addr.family, 1),
        span_of(claim->addr.b, sizeof claim->addr.b),
        claim->ni,
    };
    crypto_mac(secret, parts, ARRAY_LEN(parts), mac);
    struct wr out = wr_of(ret, COOKIE_SIZE);
    wr_u8(&out, (uint8_t)epoch);
    wr_bytes(&out, span_of(mac, COOKIE_SIZE - 1));
    wipe(mac, sizeof mac);
}

void ike_cookie_make(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     uint8_t ret[COOKIE_SIZE])
{
    make(c->secret, unix_time / COOKIE_EPOCH, claim, ret);
}

bool ike_cookie_good(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     struct span cookie)
{
    if (cookie.n != COOKIE_SIZE)
        return false;
    uint64_t now = unix_time / COOKIE_EPOCH;
    for (uint64_t age = 0; age < 2; age++) {
        uint8_t expected[COOKIE_SIZE], older[COOKIE_SIZE];
        make(c->secret, now - age, claim, expected);
        make(c->previous, now - age, claim, older);
        if (crypto_equal(span_of(expected, sizeof expected), cookie) ||
            crypto_equal(span_of(older, sizeof older), cookie))
            return true;
    }
    return false;
}
