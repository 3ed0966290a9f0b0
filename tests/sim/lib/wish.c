/* What a peer wants unless a test says otherwise: the recommended hybrid, for one office. */
#include "initiator.h"

static struct ts any_ts(void)
{
    struct ts ts = {.port_last = UINT16_MAX};
    OK(addr_parse("0.0.0.0", &ts.first));
    OK(addr_parse("255.255.255.255", &ts.last));
    return ts;
}

void initiator_wish_default(struct initiator_wish *ret)
{
    static const char ID[] = "office.example.net";
    *ret = (struct initiator_wish){
        .psk = "a pre-shared key of sufficient length",
        .id = {.type = ID_FQDN, .n = sizeof ID - 1},
        .ike = {.encr = ENCR_AES_GCM_16,
                .encr_bits = 256,
                .prf = PRF_HMAC_SHA2_384,
                .ke = KE_ECP384,
                .addke = {KE_ML_KEM_768}},
        .esp = {.encr = ENCR_AES_GCM_16, .encr_bits = 256},
        .ts_local = any_ts(),
        .ts_remote = any_ts(),
        .natd = true,
        .ni_first = -1,
        .nr_first = -1,
        .datagram = 1280,
        .retransmit = NS_PER_S / 2,
        .tries = 13,
    };
    memcpy(ret->id.data, ID, sizeof ID - 1);
    OK(addr_parse("10.1.0.0", &ret->ts_local.first));
    OK(addr_parse("10.1.255.255", &ret->ts_local.last));
}
