"""Word lists of `phrases`: what never names a thing in a picture, and what only seems not to."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Function words that no other language writes the same way: they speak for English.
ENGLISH_ONLY = _words("""
the and of with from is are this that these those his their your our its it's which who what where
when while into onto over under between through near above below behind beside around has had were
been being be can could will would should if there here some many each every other another both
very two three four five
""")

# Everything that ends a phrase, besides: verbs of captions, numbers, and words for the medium.
ENGLISH = ENGLISH_ONLY | _words("""
a i he she it we you they for by at an or as to her have was not but
me my mine us him them himself herself itself themselves one ones in on
up down out off no nor so than then too also just only even still yet about after again against
all along already although always am among amid any anyone anything are aren't because before
between beyond cannot do does did done don't during either else etc ever few get gets got how
however inside like made make makes making may might more most much must myself neither never
nothing now once outside own per perhaps rather same self several shall since something somewhere
such sure thing things thus till together toward towards unless until upon using via
want wants way well whether whose why within without whom
said say says see seen sees seem seems show shows shown showing look looks looked sit sits sat
stand stands stood lie lies lay lays hold holds held wear wears wore worn ride rides rode run runs
ran walk walks play plays eat eats ate drink drinks sleep sleeps fly flies flew go goes went gone
come comes came take takes took taken give gives gave given put puts keep keeps kept let lets use
used uses find finds found know known need needs try tries turn turns work works live lives left
stay stays start starts stop stops help helps begin begins become becomes feature features
featuring contain contains include includes including based related called named type types kind
kinds sort sorts part parts set sets pair pairs group groups bunch lot lots piece pieces number
variety collection series example various different similar
zero six seven eight nine ten eleven twelve twenty thirty fifty hundred hundreds thousand thousands
million first second third fourth last next half dozen
photo photos photograph photographs photography picture pictures pic pics image images img
illustration illustrations clipart clip-art art artwork vector vectors icon icons symbol symbols
drawing drawings sketch wallpaper wallpapers background backgrounds stock view views shot shots
close closeup close-up portrait scene footage render rendering thumbnail placeholder banner
png jpg jpeg gif svg webp pdf psd eps hash http https www com net org html isolated silhouette
free download downloads buy shop sale price order online click here home page website copyright
rights reserved available unavailable untitled default style design theme version size
day days week month months year years today tomorrow yesterday ago time times hour hours minute
minutes january february march april june july august september october november december
monday tuesday wednesday thursday friday saturday sunday jan feb mar apr jun jul aug sep sept oct
nov dec mon tue wed thu fri sat sun
""")

# They describe a thing and are none: colours, sizes, shapes, ages, materials' looks, judgements.
MODIFIERS = _words("""
red yellow green blue purple pink brown black white grey gray golden silver violet cyan
magenta beige turquoise crimson navy dark light bright pale deep colorful colourful colored
coloured color colour multicolored transparent shiny matte
big small large little tiny huge giant great long short tall high low wide narrow thin thick fat
slim mini maxi full empty open closed half whole left right front rear top bottom upper lower
inner outer middle center central north south east west northern southern eastern western
old new young ancient modern vintage retro antique classic traditional fresh early late daily
round square flat curved straight sharp soft hard smooth rough heavy light wet dry hot cold warm
cool frozen clean dirty broken fluffy furry fuzzy wooden metallic plastic
good bad best better nice beautiful pretty cute lovely gorgeous amazing awesome funny happy sad
angry sweet elegant simple plain fancy special perfect wonderful cheap expensive luxury premium
quality popular famous favorite favourite real realistic true fake main major minor basic
common rare typical general professional personal private public local international national
american british english european african asian french german italian spanish chinese japanese
indian russian mexican canadian
male female adult single double triple multiple unknown possible natural artificial digital
creative unique original official additional extra super ultra easy fast slow quick busy quiet
loud strong weak rich poor sick healthy dead alive wild domestic comic cartoon
""")

NAMING_IN_ING = _words("""
building buildings painting ring king wing string spring morning evening ceiling clothing wedding
dining swimming earring pudding duckling dumpling sibling darling sling swing lightning awning
railing stocking herring icing frosting crossing viking bowling boxing fishing sailing shopping
sewing rocking washing sleeping wiring piping bearing bedding carving covering dressing engraving
gosling hamstring keyring landing lighting lining living meeting offspring opening parking plumbing
racing roofing sapling seedling setting shaving skiing skating surfing stuffing writing starling
housing training greeting ironing cutting heating cooking cycling camping hiking wrestling
""")

NAMING_IN_ED = _words("""
bed beds red seed weed shed sled reed steed moped feed speed breed need bobsled flatbed seabed
riverbed flowerbed hotbed sunbed daybed hundred watershed thoroughbred centipede aniseed seaweed
birdseed tumbleweed knapweed ragweed
""")

NAMING_IN_LY = _words("""
butterfly dragonfly firefly fly family jelly lily belly dolly holly bully trolly italy assembly
monopoly ally gully housefly mayfly underbelly waterlily hillbilly grizzly supply curly woolly
""")

# Function words of other languages that are no English words.
FOREIGN = _words("""
der das dem des und ein eine einer einem einen mit auf von zu zum zur ist im vom bei sich nicht
auch aus wie oder einige
le les du de et un une dans avec sur pour au aux ou qui que ce cette d'un d'une l'un sous chez
el los las y con por para del al es su sus una uno unos unas como muy pero este esta
il gli lo di che della dello delle degli nel nella sul sulla alla dal dalla sono suo
um uma os dos das da nos nas em ao pelo pela seu sua mais
het een zijn bij naar voor ook maar
och att det som pa av en ett ar har inte
og er til av eit ein pa jeg
ja ei se oli
egy az
na je se ve pri pre nad alebo ktory
w z na sie jest oraz dla przez
ve bir bu ile icin
yang dan di dengan dari untuk ini itu sebuah ke pada
cu la pe din sau este unui unei
ang mga ng ay
ya wa kwa
""")
