/* selector: does an inner packet lie inside a Child SA's traffic selectors (RFC 4301 4.4.1, 5.2; RFC 7296 3.13.1)?
 * Nearly every SA of a route-based tunnel has 0.0.0.0/0 or ::/0 on both sides: that is one flag per family.
 */
#ifndef ADIT_DP_SELECTOR_H
#define ADIT_DP_SELECTOR_H

#include "adit/policy.h"
#include "adit/wire_ip.h"

struct selectors {
    bool all4, all6; /* the whole family, every protocol and port, both ways */
    struct ts local, remote;
};
struct selectors selectors_of(const struct ts *local, const struct ts *remote);
/* `inbound`: the packet's source is the remote side. */
bool selectors_match_slow(const struct selectors *s, const uint8_t *p, const struct ip_view *ip, bool inbound);
static inline bool selectors_match(const struct selectors *s, const uint8_t *p, const struct ip_view *ip, bool inbound)
{
    return (ip->version == 4 ? s->all4 : s->all6) || selectors_match_slow(s, p, ip, inbound);
}

#endif
