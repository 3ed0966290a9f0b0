/* ike/transport: transport mode (RFC 7296 1.3.1). Only a tunnel that carries GRE has it, for a child that is between the two ends of
 * GRE and for nothing else. Behind a NAT the packet would not say who sent it, and the selectors would have to be exchanged for what
 * the outer header says (2.23.1): there the child is one of tunnel mode, which asks nothing of either.
 */
#include "engine.h"
#include "selector.h"

static struct ts ts_of(const struct addr *a)
{
    enum { GRE = 47 };
    return (struct ts){.proto = GRE, .port_last = UINT16_MAX, .first = *a, .last = *a};
}

bool ike_transport_narrow(const struct ike_inbound *x, const struct ike_tunnel *tunnel, const struct ike_child *old,
                          struct span peer_remote, struct span peer_local, struct ike_ts_pair *ret)
{
    const struct ike_sa *sa = x->sa;
    const struct addr *remote = &tunnel->gre_remote, *local = &tunnel->endpoint;
    struct ike_notify asked;
    if (!remote->family || !ike_notify_find(&x->chain, N_USE_TRANSPORT_MODE, &asked) || sa->nat_peer || sa->nat_local)
        return false;
    if (!addr_equal(remote, &sa->path.remote.addr) || !addr_equal(local, &sa->path.local.addr))
        return false;
    const struct ts ours = ts_of(local), theirs = ts_of(remote);
    const struct ike_ts_policy policy = {&ours, &theirs, 1, 1};
    enum rc rc = old ? ike_selector_rekey(&policy, peer_remote, peer_local, &old->ts_local, &old->ts_remote, ret)
                     : ike_selector_narrow(&policy, peer_remote, peer_local, ret);
    return rc == RC_OK;
}
