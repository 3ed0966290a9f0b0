/* ike/cookie: stateless cookies (RFC 7296 2.6). */
#include "cookie.h"

#include "adit/crypto.h"

static void make(const struct ike_cookies *c, uint64_t epoch, const struct ike_cookie_claim *claim,
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
    crypto_mac(c->secret, parts, ARRAY_LEN(parts), mac);
    struct wr out = wr_of(ret, COOKIE_SIZE);
    wr_u8(&out, (uint8_t)epoch);
    wr_bytes(&out, span_of(mac, COOKIE_SIZE - 1));
    wipe(mac, sizeof mac);
}

void ike_cookie_make(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     uint8_t ret[COOKIE_SIZE])
{
    make(c, unix_time / COOKIE_EPOCH, claim, ret);
}

bool ike_cookie_good(const struct ike_cookies *c, uint64_t unix_time, const struct ike_cookie_claim *claim,
                     struct span cookie)
{
    if (cookie.n != COOKIE_SIZE)
        return false;
    uint64_t now = unix_time / COOKIE_EPOCH;
    for (uint64_t age = 0; age < 2; age++) {
        uint8_t expected[COOKIE_SIZE];
        make(c, now - age, claim, expected);
        if (crypto_equal(span_of(expected, sizeof expected), cookie))
            return true;
    }
    return false;
}
