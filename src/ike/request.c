/* ike/request: our own requests: one at a time, repeated with exponential back-off (RFC 7296 2.1, 2.4). What is wanted stands as
 * flags in the SA and its children until it is its turn.
 */
#include "create.h"
#include "seal.h"

void ike_request_done(struct ike *ike, struct ike_sa *sa)
{
    heap_cancel(&ike->timers, &sa->own.timer.t);
    ike_message_free(&sa->own.message);
    sa->own.errand = ERRAND_NONE;
}

void ike_request_clear(struct ike *ike, struct ike_sa *sa)
{
    ike_request_done(ike, sa);
    ike_create_free(ike, sa->own.create);
}

/* To the place that is to be proved, or where the peer is. */
void ike_request_send(struct ike_turn *t, struct ike_sa *sa)
{
    const struct path path = ike_move_target(sa);
    ike_act_send_message(t, &path, &sa->own.message);
}

static void send_request(struct ike_turn *t, struct ike_sa *sa, enum ike_errand errand, uint8_t exchange,
                         struct ike_writer *iw)
{
    const struct ike_header header = {
        .spi_i = sa->spi_i,
        .spi_r = sa->spi_r,
        .version = IKE_VERSION,
        .exchange = exchange,
        .flags = sa->initiator ? IKE_FLAG_INITIATOR : 0,
        .mid = sa->mid_out,
    };
    struct ike_request *own = &sa->own;
    struct span inner;
    enum rc rc = ike_write_finish(iw, &inner);
    if (rc == RC_OK)
        rc = ike_seal(t->ike, sa, &header, ike_write_first(iw), inner,
                      ike_seal_limit(&sa->path, t->ike->policy.fragment_size), &own->message);
    own->interval = t->ike->policy.retransmit_first;
    if (rc != RC_OK || !ike_timer_set(t->ike, &own->timer, t->now + own->interval)) {
        /* Out of memory: as if the peer never answered. */
        ike_sa_end(t, sa, CHILD_DOWN_IKE_GONE);
        return;
    }
    own->errand = errand;
    own->mid = sa->mid_out++;
    own->exchange = exchange;
    own->tries = 1;
    ike_request_send(t, sa);
}

/* All children whose time is over, in one Delete. */
static bool write_expired(struct ike_sa *sa, struct ike_writer *iw)
{
    uint32_t spis[IKE_CHILDREN_MAX];
    uint16_t n = 0;
    for (struct list *l = sa->children.next; l != &sa->children && n < IKE_CHILDREN_MAX; l = l->next) {
        struct ike_child *child = CONTAINER_OF(l, struct ike_child, of_sa);
        if (!child->expiring)
            continue;
        child->deleting = true;
        spis[n++] = child->spi_in; /* RFC 7296 3.11: the SPIs we receive with */
    }
    if (n)
        ike_write_delete_esp(iw, spis, n);
    return n > 0;
}

void ike_request_next(struct ike_turn *t, struct ike_sa *sa)
{
    struct ike_writer iw;
    uint8_t exchange;
    if (sa->own.errand != ERRAND_NONE || !sa->secrets)
        return; /* window 1: the rest waits for the answer */
    ike_write_inner(&iw, wr_of(t->ike->inner, IKE_INNER_MAX));
    if (sa->state == IKE_STATE_DELETING) {
        ike_write_delete_ike(&iw);
        send_request(t, sa, ERRAND_DELETE_IKE, INFORMATIONAL, &iw);
        return;
    }
    if (sa->own.create) {
        if (ike_own_next(t, sa, &iw, &exchange))
            send_request(t, sa, ERRAND_CREATE, exchange, &iw);
        return;
    }
    if (sa->state != IKE_STATE_ESTABLISHED)
        return;
    if (write_expired(sa, &iw)) {
        send_request(t, sa, ERRAND_DELETE_CHILDREN, INFORMATIONAL, &iw);
    } else if (ike_own_begin(t, sa, &iw)) {
        send_request(t, sa, ERRAND_CREATE, CREATE_CHILD_SA, &iw);
    } else if (sa->probe_due) { /* RFC 7296 2.4: empty */
        sa->probe_due = false;
        send_request(t, sa, ERRAND_LIVENESS, INFORMATIONAL, &iw);
    }
}

void ike_request_due(struct ike_turn *t, struct ike_sa *sa)
{
    struct ike_request *own = &sa->own;
    if (own->tries > t->ike->policy.retransmit_tries) { /* RFC 7296 2.4: the peer is gone, and so is the SA */
        if (own->create)
            ike_create_failed(t, own->create, IKE_COUNT_FAIL_TIMEOUT, "the peer does not answer");
        ike_event_drop(t, &sa->path, IKE_COUNT_FAIL_TIMEOUT, sa->spi_i, "the peer does not answer our request");
        ike_sa_end(t, sa, CHILD_DOWN_IKE_GONE);
        return;
    }
    own->tries++;
    if (own->message.inner.n) {
        struct ike_half out;
        ike_seal_half(&sa->secrets->keys, sa->initiator, &out);
        ike_seal_smaller(t->ike, sa, &sa->path, &out, &own->message);
        wipe(&out, sizeof out);
    }
    own->interval = own->interval * 2 < IKE_RETRANSMIT_CAP ? own->interval * 2 : IKE_RETRANSMIT_CAP;
    if (!ike_timer_set(t->ike, &own->timer, t->now + own->interval)) {
        ike_sa_end(t, sa, CHILD_DOWN_IKE_GONE);
        return;
    }
    ike_request_send(t, sa);
}
