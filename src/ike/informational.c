/* ike/informational: INFORMATIONAL (RFC 7296 1.4): liveness and Delete, the peer's and the answers to ours.
 */
#include "create.h"

static bool listed(const struct ike_inbound *x, const struct ike_child *child)
{
    for (size_t i = 0; i < x->n_gone; i++)
        if (x->gone[i] == child)
            return true;
    return false;
}

/* The SPIs of a Delete are those its sender receives with: our outbound ones (RFC 7296 3.11). Those we do not know were deleted
 * before, or never were. A Delete may be overtaken by a rekey of the IKE SA: the children are with another then. */
static void collect(struct ike_inbound *x, struct ike_delete *d)
{
    struct ike_sa *holder = ike_sa_holder(x->turn->ike, x->sa);
    for (uint16_t i = 0; i < d->n; i++) {
        uint32_t spi_out = rd_u32(&d->spis);
        struct ike_child *child = ike_child_of(holder, spi_out);
        if (child && x->n_gone < IKE_CHILDREN_MAX && !listed(x, child))
            x->gone[x->n_gone++] = child;
        else if (!child && holder->own.create)
            holder->own.create->gone = spi_out;
    }
}

static void commit(struct ike_inbound *x)
{
    for (size_t i = 0; i < x->n_gone; i++)
        ike_child_down(x->turn, x->gone[i], x->gone[i]->replaced ? CHILD_DOWN_REKEYED : CHILD_DOWN_PEER);
}

/* RFC 7296 1.4.1: the answer names the other half of each pair, except of those we are deleting ourselves at this moment. */
static void answer_children(struct ike_inbound *x)
{
    uint32_t spis[IKE_CHILDREN_MAX];
    uint16_t n = 0;
    for (size_t i = 0; i < x->n_gone; i++)
        if (!x->gone[i]->deleting)
            spis[n++] = x->gone[i]->spi_in;
    if (n)
        ike_write_delete_esp(&x->reply, spis, n);
    x->commit = commit;
}

/* RFC 7296 2.21.2: an initiator that does not accept our AUTH may say so here. */
static void refused_by_peer(struct ike_inbound *x)
{
    const struct ike_report report = {
        .count = IKE_COUNT_FAIL_PSK,
        .reason = "the peer refused our AUTH: it expects another PSK or another identity of ours",
        .tunnel = x->sa->tunnel,
        .path = &x->path,
        .sa = x->sa,
    };
    ike_event_failed(x->turn, &report);
}

enum ike_outcome ike_informational_request(struct ike_inbound *x)
{
    bool kill = false;
    struct ike_notify notify;
    for (size_t i = 0; i < x->chain.n; i++) {
        struct ike_delete d;
        if (x->chain.v[i].type != PAYLOAD_DELETE)
            continue;
        if (ike_delete_read(x->chain.v[i].body, &d) != RC_OK || (d.protocol == PROTO_ESP && d.spi_size != 4)) {
            ike_reply_notify(x, N_INVALID_SYNTAX, span_of(NULL, 0));
            return OUTCOME_KILL;
        }
        if (d.protocol == PROTO_IKE)
            kill = true;
        else if (d.protocol == PROTO_ESP)
            collect(x, &d);
    }
    if (ike_notify_find(&x->chain, N_AUTHENTICATION_FAILED, &notify)) {
        refused_by_peer(x);
        kill = true;
    }
    if (kill) /* the answer to a Delete of the IKE SA is empty, and all children go with it */
        return OUTCOME_KILL;
    answer_children(x);
    return OUTCOME_STAY;
}

enum ike_outcome ike_informational_response(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    enum ike_errand errand = sa->own.errand;
    ike_request_clear(x->turn->ike, sa); /* with any errand but these two: a sign of life, nothing more */
    if (errand == ERRAND_DELETE_IKE)
        return OUTCOME_DONE;
    for (struct list *l = sa->children.next, *next; l != &sa->children; l = next) {
        struct ike_child *child = CONTAINER_OF(l, struct ike_child, of_sa);
        next = l->next;
        if (child->deleting)
            ike_child_down(x->turn, child, child->replaced ? CHILD_DOWN_REKEYED : CHILD_DOWN_EXPIRED);
    }
    return OUTCOME_STAY;
}
