/* Memory protection and caches; see memory.c. */
#ifndef MEMORY_H
#define MEMORY_H

/* Code is in ITCM, and no cached memory has been written. */
void memory_start(void);

#endif
