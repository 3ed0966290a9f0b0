/* Short words for tests of exchanges after IKE_SA_INIT: what the peer is to want, and sealed datagrams by hand.
 */
#ifndef ADIT_TESTS_ADV_EXCHANGE_H
#define ADIT_TESTS_ADV_EXCHANGE_H

#include "adv.h"

static inline void hybrid(void)
{
    adv->i->wish.ike.addke[0] = KE_ML_KEM_768;
}

static inline size_t sas(void)
{
    struct ike_sa_info info;
    return edge_sas(adv->e, &info);
}

static inline struct session *session(void)
{
    return &adv->i->sa[adv->i->n_sas - 1]->s;
}

/* One sealed datagram of the peer, without its state machine. */
static inline struct buf sealed(uint8_t exchange, uint32_t mid, uint8_t first, struct span text, uint16_t number,
                                uint16_t total)
{
    struct buf b = {0};
    struct ike_header h = session_header(session(), exchange, false, mid);
    session_seal_one(session(), &h, first, text, number, total, &b);
    return b;
}

static inline void silent(struct buf b, enum ike_count c)
{
    adv_silent(adv, buf_span(&b), c);
    buf_free(&b);
}

static inline void finish_handshake(void)
{
    pair_carry(adv);
    assert_non_null(initiator_current(adv->i));
    pair_assert_agree(adv);
}

#endif
