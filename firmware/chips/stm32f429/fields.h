/* How fields of registers are written. */
#ifndef FIELDS_H
#define FIELDS_H

/* `value` in the place of a field, of which the header knows the mask or, for each bit has a name of its own, the lowest. */
#define IN_FIELD(mask, value) ((value) * ((mask) & (~(mask) + 1u)))

/* The register's content with another value in that field. */
#define WITH_FIELD(reg, mask, value) (((reg) & ~(mask)) | IN_FIELD(mask, value))

#endif
