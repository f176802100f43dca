# BuildPackage NAME: its files and what it says of itself, below $(OUT)/NAME.

facts := TITLE URL DEPENDS USERID PKGARCH VERSION SECTION
scripts := preinst postinst prerm postrm

all:

define BuildPackage
$(foreach fact,$(facts),$(eval $(fact) :=))
$(eval PKGARCH := $(ARCH))
$(eval VERSION := $(PKG_VERSION)-r$(PKG_RELEASE))
$(eval $(Package/$(1)))
$(shell mkdir -p $(OUT)/$(1)/root)
$(foreach fact,$(facts) PKG_LICENSE PKG_MAINTAINER PKG_NAME,$(file >$(OUT)/$(1)/$(fact),$($(fact))))
$(foreach text,description conffiles $(scripts),$(if $(value Package/$(1)/$(text)),$(file >$(OUT)/$(1)/$(text),$(Package/$(1)/$(text)))))
.PHONY: install-$(1)
all: install-$(1)
install-$(1):
$(call Package/$(1)/install,$(OUT)/$(1)/root)
endef
