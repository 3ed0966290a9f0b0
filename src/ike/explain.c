/* ike/explain: whom the peer may have meant, for the operator alone. It runs whenever a proof failed, whatever the reason, and
 * always over the same tunnels, so that the time it takes says nothing.
 */
#include "explain.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Octets alike at the beginning and at the end, upper and lower case being one. */
static size_t alike(struct span a, struct span b)
{
    size_t least = a.n < b.n ? a.n : b.n, front = 0, back = 0;
    while (front < least && lower(a.p[front]) == lower(b.p[front]))
        front++;
    while (back < least - front && lower(a.p[a.n - 1 - back]) == lower(b.p[b.n - 1 - back]))
        back++;
    return front + back;
}

static unsigned judge(const struct ike_id *received, const struct addr *local, const struct ike_identity *id,
                      const char **ret_hint)
{
    struct span ours = span_of(id->data, id->n), theirs = received->data;
    bool here = addr_equal(&id->tunnel->endpoint, local), same_type = id->type == received->type;
    size_t longer = ours.n > theirs.n ? ours.n : theirs.n;
    if (!longer || longer > IDENTITY_MAX)
        return 0;
    if (span_equal(ours, theirs)) {
        *ret_hint = here && same_type ? "it is this one"
                    : here            ? "the same octets as another type of identity"
                                      : "it belongs to another endpoint";
        return here ? 4 * IDENTITY_MAX : 3 * IDENTITY_MAX;
    }
    size_t n = alike(ours, theirs);
    if (!here || !same_type || 2 * n < longer)
        return 0;
    *ret_hint = n == longer && ours.n == theirs.n ? "only upper and lower case differ" : "similar";
    return n == longer && ours.n == theirs.n ? 2 * IDENTITY_MAX : (unsigned)(n * IDENTITY_MAX / longer);
}

bool ike_explain_identity(struct ike_turn *t, const struct addr *local, const struct ike_id *received,
                          struct ike_candidate *ret)
{
    struct ike *ike = t->ike;
    unsigned best = 0, seen = 0;
    if (!bucket_take(&ike->explanations, t->now))
        return false;
    for (size_t i = 0; i < ike->n_tunnels && seen < IKE_CANDIDATES_MAX; i++) {
        const struct ike_tunnel *tunnel = ike->tunnels[i];
        for (uint8_t k = 0; tunnel && k < tunnel->n_identities; k++, seen++) {
            const char *hint = NULL;
            unsigned score = judge(received, local, tunnel->identities[k], &hint);
            if (score <= best)
                continue;
            best = score;
            *ret = (struct ike_candidate){tunnel, tunnel->identities[k], hint};
        }
    }
    return best > 0;
}
