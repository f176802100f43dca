# An application of LuCI: htdocs below /www, root as it is, and a package for each translation in po.

PKG_NAME ?= $(notdir $(CURDIR))
PKG_RELEASE ?= 1
LUCI_TOPIC := $(patsubst luci-app-%,%,$(PKG_NAME))
LUCI_LANGUAGES := $(sort $(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*))))

# What LuCI calls a language itself, and its code where that is not the folder's name.
LUCI_TITLE.de := Deutsch (German)
LUCI_TITLE.es := Español (Spanish)
LUCI_TITLE.fr := Français (French)
LUCI_TITLE.ru := Русский (Russian)
LUCI_TITLE.zh_Hans := 简体中文 (Chinese Simplified)
LUCI_TITLE.zh_Hant := 繁體中文 (Chinese Traditional)
LUCI_CODE.zh_Hans := zh-cn
LUCI_CODE.zh_Hant := zh-tw

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION := luci
  TITLE := $(LUCI_TITLE)
  DEPENDS := $(LUCI_DEPENDS)
  URL := $(LUCI_URL)
  PKGARCH := $(LUCI_PKGARCH)
endef

define Package/$(PKG_NAME)/description
  $(LUCI_DESCRIPTION)
endef

define Package/$(PKG_NAME)/install
	if [ -d htdocs ]; then $(INSTALL_DIR) $(1)/www && $(CP) htdocs/. $(1)/www/; fi
	if [ -d root ]; then $(CP) root/. $(1)/; fi
	chmod -R u=rwX,go=rX $(1)
endef

ifndef Package/$(PKG_NAME)/postinst
define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] && exit 0
rm -f /tmp/luci-indexcache.*
rm -rf /tmp/luci-modulecache/
killall -HUP rpcd 2>/dev/null
exit 0
endef
endif

# $(1): LuCI's code of the language, $(2): the folder
define LuciTranslation
define Package/luci-i18n-$(LUCI_TOPIC)-$(1)
  SECTION := luci
  TITLE := $(PKG_NAME) - $(1) translation
  DEPENDS := $(PKG_NAME)
  URL := $(LUCI_URL)
  PKGARCH := all
endef

define Package/luci-i18n-$(LUCI_TOPIC)-$(1)/description
  Translation of $(PKG_NAME): $(LUCI_TITLE.$(2))
endef

define Package/luci-i18n-$(LUCI_TOPIC)-$(1)/install
	$$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	echo "uci set luci.languages.$(subst -,_,$(1))='$(LUCI_TITLE.$(2))'; uci commit luci" >$$(1)/etc/uci-defaults/luci-i18n-$(LUCI_TOPIC)-$(1)
	$(foreach po,$(wildcard $(CURDIR)/po/$(2)/*.po),python3 -B $(TOPDIR)/../lmo.py $(po) $$(1)/usr/lib/lua/luci/i18n/$(basename $(notdir $(po))).$(1).lmo;)
	chmod -R u=rwX,go=rX $$(1)
endef

packages += luci-i18n-$(LUCI_TOPIC)-$(1)
endef

packages := $(PKG_NAME)
$(foreach folder,$(LUCI_LANGUAGES),$(eval $(call LuciTranslation,$(firstword $(LUCI_CODE.$(folder)) $(folder)),$(folder))))
$(foreach package,$(packages),$(eval $(call BuildPackage,$(package))))
