/* ike/move: where the peer is (RFC 7296 2.23). A fresh request of a peer behind a NAT is proof enough; anything that could be a
 * repetition, or names another address where no NAT was seen, only nominates: our request goes there, and an authentic answer
 * that comes back from there moves the SA.
 */
#include "event.h"

static bool same_path(const struct path *a, const struct path *b)
{
    return endpoint_equal(&a->local, &b->local) && endpoint_equal(&a->remote, &b->remote);
}

static void move(struct ike_turn *t, struct ike_sa *sa, const struct path *to)
{
    const struct path from = sa->path;
    sa->path = *to;
    sa->nominated.path = (struct path){0};
    for (struct list *l = sa->children.next; l != &sa->children; l = l->next) {
        struct ike_child *child = CONTAINER_OF(l, struct ike_child, of_sa);
        struct act *act = ike_act_add(t, ACT_CHILD_MOVED);
        child->udp = ike_child_udp(sa);
        if (!act)
            continue;
        act->path = sa->path;
        act->spi_in = child->spi_in;
        act->udp = child->udp;
        act->tunnel = sa->tunnel ? sa->tunnel->handle : TUNNEL_NONE;
    }
    if (sa->tunnel)
        ike_event_moved(t, sa, &from);
}

/* Where an established SA may be asked for at all: never away from the address that its tunnel was found by, nor from the one
 * that strict_peer names; and who is behind a NAT itself does not see where its peer is. */
static bool may_ask(const struct ike_sa *sa, const struct path *to)
{
    bool same_address = addr_equal(&sa->path.remote.addr, &to->remote.addr);
    return sa->tunnel && !sa->nat_local && addr_equal(&sa->path.local.addr, &to->local.addr) &&
           (same_address || !sa->tunnel->strict_peer);
}

static bool may_move(const struct ike_sa *sa, const struct path *to)
{
    if (sa->source[SCOPE_HOST]) /* half-open: the float to 4500 */
        return addr_equal(&sa->path.local.addr, &to->local.addr);
    return may_ask(sa, to) && (sa->nat_peer || addr_equal(&sa->path.remote.addr, &to->remote.addr));
}

static void nominate(struct ike_turn *t, struct ike_sa *sa, const struct path *to, bool udp)
{
    if (sa->state != IKE_STATE_ESTABLISHED || !may_ask(sa, to))
        return;
    if (t->now < sa->nominated.after) {
        ike_count_add(t->ike, IKE_COUNT_DROP_RATE);
        return;
    }
    sa->nominated = (struct ike_nomination){.path = *to, .udp = udp, .after = t->now + IKE_NOMINATE_RETRY};
    ike_count_add(t->ike, IKE_COUNT_NOMINATED);
    if (sa->own.errand != ERRAND_NONE)
        ike_request_send(t, sa); /* window 1: what is outstanding serves as well */
    else
        sa->probe_due = true;
}

void ike_move_nominate(struct ike_turn *t, struct ike_sa *sa, const struct path *path)
{
    struct path to = *path;
    bool udp = path->remote.port != 0;
    bool wrapped = udp && !ike_child_udp(sa) && addr_equal(&to.remote.addr, &sa->path.remote.addr);
    if (!udp || wrapped) { /* plain ESP has no ports: IKE's stay as they are. And anybody can put it into UDP */
        to.local.port = sa->path.local.port;
        to.remote.port = sa->path.remote.port;
    }
    if (!same_path(&to, &sa->path))
        nominate(t, sa, &to, udp);
}

void ike_move_by_request(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    if (same_path(&x->path, &sa->path))
        return;
    if (may_move(sa, &x->path))
        move(x->turn, sa, &x->path);
    else
        nominate(x->turn, sa, &x->path, false);
}

void ike_move_by_answer(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    struct ike_nomination *n = &sa->nominated;
    if (n->tries && may_ask(sa, &n->path) && same_path(&x->path, &n->path)) {
        sa->nat_peer |= n->udp; /* it has begun to encapsulate: so do we */
        move(x->turn, sa, &x->path);
    }
    n->path = (struct path){0}; /* or the peer is where it was */
}

struct path ike_move_target(struct ike_sa *sa)
{
    struct ike_nomination *n = &sa->nominated;
    if (!n->path.remote.addr.family || !sa->tunnel) /* at its end the SA looks for nobody */
        return sa->path;
    struct path to = n->path;
    if (++n->tries > IKE_NOMINATE_TRIES) {
        n->path = (struct path){0};
        to = sa->path;
    }
    return to;
}

/* RFC 3948 2.3: one octet, no marker. */
void ike_move_keepalive(struct ike_turn *t, struct ike_sa *sa)
{
    static const uint8_t OCTET = 0xff;
    struct buf octet = {0};
    struct act *act = buf_set(&octet, span_of(&OCTET, 1)) == RC_OK ? ike_act_add(t, ACT_SEND) : NULL;
    if (!act) {
        buf_free(&octet);
        return;
    }
    act->path = sa->path;
    act->datagram = octet;
    ike_count_add(t->ike, IKE_COUNT_KEEPALIVE);
}
