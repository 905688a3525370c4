// The glossary has only text: this script adds the language, the navigation and the footer.

import { fillFooter, fillHeader } from "./page_layout.js";
import { translate } from "./i18n.js";

translate();
fillHeader();
fillFooter();
