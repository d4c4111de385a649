# local.mk - scripts that build and start the airlock's inside; dist only, they run from the source tree.
EXTRA_DIST += container/Dockerfile container/build container/start container/sandbox quickstart
