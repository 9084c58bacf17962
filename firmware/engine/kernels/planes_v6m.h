/* What planes for windows hold on Armv6-M. */
#ifndef FQT_PLANES_V6M_H
#define FQT_PLANES_V6M_H

#include "planar_rows.h"

#define FQT_PLANE_ZERO 128 /* cells are less by it: their magnitude is at most 128 */

#endif
